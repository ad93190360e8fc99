"""What an operator sets of a channel: the form that judges it, and how it is stored."""
