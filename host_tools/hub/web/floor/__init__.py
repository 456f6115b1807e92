"""What the workshops made: lots and what they took."""
