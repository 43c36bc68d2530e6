"""Arrays and JSON in files, with nothing of estimators."""
