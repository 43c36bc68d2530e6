"""Read files of any kind as raw columns."""
