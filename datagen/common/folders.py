"""Checks of output folders that users give."""

from __future__ import annotations

import re
from pathlib import Path

from datagen.common.errors import UserError


def folder(path: str | Path) -> Path:
    """Check that a path names a local folder that can be written to.

    The address of an object store is refused: taken as a path it would name a new folder.

    Raises:
        UserError: an address is given, or a name that is not UTF-8.
    """
    if re.match(r"[a-z][a-z0-9+.-]+:/", str(path)):
        raise UserError(
            f"{path} looks like an address; give a folder: only `train --data` reads from object stores",
            code=2,
        )
    try:
        str(Path(path).absolute()).encode()
    except UnicodeEncodeError as error:  # Parquet files can only be named in UTF-8
        raise UserError(f"the name of the folder {path} is not UTF-8; use another", code=2) from error
    return Path(path)
