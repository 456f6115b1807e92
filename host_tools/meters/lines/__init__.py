"""The lines that meters are on, as this computer reaches them, and what all simulated lines have in common."""
