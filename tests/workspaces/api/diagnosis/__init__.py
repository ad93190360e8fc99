"""What the API tells of launches, limits, incidents and logs."""
