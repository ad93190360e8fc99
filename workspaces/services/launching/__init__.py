"""From create to online or failed: the queue, the launch, progress, restart, resume, wake."""
