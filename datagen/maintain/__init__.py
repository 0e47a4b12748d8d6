"""Change a finished data set: retry, repair, withdraw, purge."""
