"""End to end, with real processes: what a user or an outage does to a whole Slipway."""
