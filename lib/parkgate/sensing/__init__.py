"""What sensors beside meters measure, in integers."""
