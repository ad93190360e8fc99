"""`make up`: the command line, the data folder, the supervisor."""
