"""The drift gate: what it finds, and what it leaves alone."""
