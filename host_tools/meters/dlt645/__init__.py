"""DL/T 645 meters for the host: simulated ones, and the scan of a live bus."""
