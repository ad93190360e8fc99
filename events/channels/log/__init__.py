"""Lines in the log."""
