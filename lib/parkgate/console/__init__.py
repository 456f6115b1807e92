"""The lines of the serial console, and who may give which command."""
