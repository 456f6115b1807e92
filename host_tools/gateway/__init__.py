"""What talks to one gateway over its serial line."""
