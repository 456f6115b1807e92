"""Stored batches decoded into readings."""
