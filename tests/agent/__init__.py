"""The agent as a process, and its rules."""
