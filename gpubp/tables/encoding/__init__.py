"""Encode columns of each type as numbers for a network."""
