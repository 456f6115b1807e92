"""What gateway and hub both know. Pure: no I/O, no clock, integers only."""
