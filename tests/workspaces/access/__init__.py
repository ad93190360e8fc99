"""Tokens, secrets, masking, agent URLs."""
