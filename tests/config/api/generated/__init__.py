"""Calls that Schemathesis generates from the API's description."""
