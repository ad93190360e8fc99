"""The process backend: workspaces are processes of this host."""
