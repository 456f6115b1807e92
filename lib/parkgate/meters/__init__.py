"""How meters are asked and their registers read."""
