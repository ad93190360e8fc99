"""`make demo`: its settings, its fleet and its run."""
