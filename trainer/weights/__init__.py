"""Weights from outside: where they come from, how they are fetched and checked, how they become our checkpoints."""
