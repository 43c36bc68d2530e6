"""The page of `--report`: what a model learned from what, how well, and how to repeat it."""
