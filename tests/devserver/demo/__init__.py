"""`make demo`'s settings."""
