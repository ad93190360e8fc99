"""The transition table, its trigger and its diagram."""
