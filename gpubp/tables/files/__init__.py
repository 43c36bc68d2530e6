"""From files of any kind to raw columns."""
