"""Models and their indexes."""
