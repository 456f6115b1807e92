"""What becomes bytes on a board."""
