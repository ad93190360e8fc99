"""The simulated backend and its simulator."""
