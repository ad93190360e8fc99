"""What a server's answers have to hold so that commands can show them, and the check of it."""
