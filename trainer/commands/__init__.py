"""Command line of the trainer, one file a command. The heavy packages are imported when a command runs."""

from __future__ import annotations

import typer

from trainer.commands import precompute, train


def register(app: typer.Typer) -> None:
    """Add `train` and `precompute` to the program."""
    train.register(app)
    precompute.register(app)
