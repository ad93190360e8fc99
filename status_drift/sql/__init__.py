"""How the gate reads SQL: where it is in a file, and which of its strings are statuses."""
