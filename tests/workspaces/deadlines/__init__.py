"""The deadline policy and what it explains."""
