"""The hub's page and its HTTP interface."""
