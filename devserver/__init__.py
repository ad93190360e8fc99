"""`make up` and `make demo`: command line, embedded servers, data folder, supervisor, first run."""
