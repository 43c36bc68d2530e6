"""One network trained on arrays: batches, epochs, early stopping, inference."""
