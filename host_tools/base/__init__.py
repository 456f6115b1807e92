"""What every room needs: paths, keys, locks and MicroPython's Unix port."""
