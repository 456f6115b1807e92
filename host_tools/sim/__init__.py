"""Whole gateways and workshops on this computer."""
