"""Files to typed columns, and columns to the rows of a network."""
