"""Processes that train together, each with a part of the rows or of the networks."""
