"""Search of hyperparameters by cross-validation, with the networks trained together."""
