"""`python -m trainer.demo`: trains a tiny model and measures whether the result follows its driver."""

from __future__ import annotations

import sys

from datagen.common.cli_options import say
from datagen.common.errors import UserError
from datagen.common.extras import needs_extra


def run() -> int:
    """Run the demonstration; returns the exit status."""
    try:
        with needs_extra("train", "the training demonstration"):
            from trainer.demo.run import main
    except UserError as error:
        say(f"error: {error}")
        return error.code
    return main()


if __name__ == "__main__":
    sys.exit(run())
