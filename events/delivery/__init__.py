"""Delivery: from an event in the log to the receivers of its channels."""
