"""Figures that Parkgate claims, measured against the work of others on the same data in the same run."""
