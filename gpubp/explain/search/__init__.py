"""The searches that backpropagation replaces, measured on the same network."""
