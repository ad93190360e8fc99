"""Finds secrets in texts, in all their forms, and masks them. What is secret is handed in, except for the settings'."""
