"""Read tables from files and frames, detect the types of their columns, and encode them."""
