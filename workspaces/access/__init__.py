"""Authentication and secrecy: who may call, tokens, secrets, masking, agent URLs."""
