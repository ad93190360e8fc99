"""The command `slipway`: it talks to any Slipway server by its API alone, and imports none of the platform."""

__version__ = "0.1.0"
