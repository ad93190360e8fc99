"""Tests, in folders that mirror the code's; helpers beside the tests that use them."""
