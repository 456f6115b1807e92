"""The verbs of the hub's operator."""
