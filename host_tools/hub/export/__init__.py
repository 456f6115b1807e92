"""Readings and what belongs to them out of a hub, as files for people and programs: `parkgate export` and the page."""
