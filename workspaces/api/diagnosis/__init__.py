"""What tells operators why something went wrong: launches, their limits, incidents and logs."""
