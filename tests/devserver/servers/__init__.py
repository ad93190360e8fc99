"""The embedded servers, and the test suite's own."""
