"""How each type of column becomes numbers for a network."""
