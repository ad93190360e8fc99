"""What an operator sees and does, in Chromium."""
