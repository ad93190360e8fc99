"""Launches, the queue and the number of statements."""
