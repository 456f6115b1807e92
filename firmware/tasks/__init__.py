"""The things a gateway does at the same time, each a short loop with a deadline on every wait."""
