"""Putting a hall into service: the steps, the comparison with displays, the page."""
