"""The guard of outgoing connections: which addresses are allowed, and clients that connect to no others."""
