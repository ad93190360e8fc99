"""Launches, the queue, what they cost."""
