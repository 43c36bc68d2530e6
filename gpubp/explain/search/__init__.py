"""The searches that backpropagation replaces, measured beside it."""
