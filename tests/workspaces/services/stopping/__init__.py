"""Pause, hibernate, reaper."""
