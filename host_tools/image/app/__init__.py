"""The firmware compiled for a board, and what is done to its source before."""
