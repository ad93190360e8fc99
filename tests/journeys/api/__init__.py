"""The HTTP API on real servers, as agents and scripts that know only its contract call it."""
