"""Everything from creating a workspace to online or failed: queue, launch, progress, restart, resume, wake."""
