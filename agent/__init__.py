"""The agent that runs inside a workspace; it imports nothing of Slipway."""
