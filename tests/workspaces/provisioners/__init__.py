"""The contract of every backend."""
