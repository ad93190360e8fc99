"""`make up` and `make demo`: embedded servers, supervisor, data folder, first run."""
