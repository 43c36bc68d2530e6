"""The output of `gpubp sweep`: a live table, the table of trials, files, and an HTML page."""
