"""`python -m trainer.parity DIR`: exit status 1 if a case fails, 2 if the folder cannot be run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from datagen.common.errors import UserError
from datagen.common.extras import needs_extra


def main() -> int:
    """Run a parity folder; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m trainer.parity", description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder laid out like spec/parity")
    folder = parser.parse_args().folder
    try:
        with needs_extra("train", "the parity check"):
            from trainer.parity.run import run_folder
        return 0 if run_folder(folder) else 1
    except (UserError, OSError, ValueError, KeyError) as error:
        print(f"cannot run {folder}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
