"""Chats, through Apprise."""
