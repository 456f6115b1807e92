"""Where the hub keeps what it accepted."""
