"""The network, its losses and optimizers: forward, backward, update."""
