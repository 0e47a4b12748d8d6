"""The output folder on disk: paths, names, columns, publishing, failures, tombstones."""
