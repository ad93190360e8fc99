"""Benchmarks: each compares Slipway with a limit in the same run and prints ratios."""
