"""The guard of outgoing addresses: what a channel may connect to."""
