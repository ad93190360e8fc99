"""The simulated backend, and the simulator that plays its agents over HTTP."""
