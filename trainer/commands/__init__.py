"""Command line of the trainer, one file a command. The heavy packages are imported when a command runs."""
