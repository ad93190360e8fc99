"""Benchmarks: each compares Slipway with a baseline in the same run and prints ratios."""
