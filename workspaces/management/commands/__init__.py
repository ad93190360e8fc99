"""One command per file. operation_command.py makes those of the operations."""
