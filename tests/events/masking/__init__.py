"""Tests of how secrets are found in texts."""
