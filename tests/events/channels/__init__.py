"""Each kind of channel against a real receiver."""
