"""`make demo`: its settings, its simulated fleet and its steps."""
