"""The process backend with real processes."""
