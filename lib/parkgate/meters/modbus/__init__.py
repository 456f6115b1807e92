"""Modbus: frames on a serial line, the client of one bus, and the same over TCP."""
