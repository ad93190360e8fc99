"""Tests of workspaces, in the same folders as the code. Helpers that several of them use are here."""
