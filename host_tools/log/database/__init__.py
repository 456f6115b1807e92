"""The two databases that a hub can stand on, behind one seam (`seam`)."""
