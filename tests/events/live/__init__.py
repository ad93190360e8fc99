"""The live streams through real servers."""
