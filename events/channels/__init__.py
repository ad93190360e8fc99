"""The kinds of channels, a folder each, and what they have in common."""
