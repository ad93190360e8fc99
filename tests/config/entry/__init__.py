"""What a request meets before Django."""
