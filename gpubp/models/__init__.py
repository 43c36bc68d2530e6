"""A model as a whole: saved, loaded, and with the columns of its table."""
