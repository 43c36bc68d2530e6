"""Output for a person: lines in a terminal, and parts of an HTML page."""
