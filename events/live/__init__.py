"""The live streams: server-sent events and WebSockets, read by position."""
