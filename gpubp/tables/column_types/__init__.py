"""Detect the types of columns: numbers, categories, dates, text."""
