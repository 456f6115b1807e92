"""Bugs planted on purpose, so that a test which cannot fail is found out."""
