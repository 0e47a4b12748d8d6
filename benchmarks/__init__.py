"""Measurements of this project; each module is a command, run from the project's root."""
