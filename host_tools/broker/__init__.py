"""A broker to try things with, and certificates for TLS."""
