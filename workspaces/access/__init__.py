"""Who may call and what stays secret: authentication, tokens, secrets, masking, agent URLs."""
