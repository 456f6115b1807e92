"""Meters: their profiles, scans of a live bus, simulated ones."""
