"""What no call may do: answer bad input with anything but a refusal that names it, or change something and fail."""
