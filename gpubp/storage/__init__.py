"""Write and read files of arrays and JSON; nothing here depends on the estimators."""
