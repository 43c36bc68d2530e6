"""Benchmarks: every measured claim of the README has its script here."""
