"""The deadline policy, its explanation, and what the record of boots says about it."""
