"""Options that several commands share."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from datagen.common.errors import UserError
from datagen.common.text import plain


def folder(path: Path) -> Path:
    """A place that is written to: a folder, no address of an object store, which as a path would mean a new folder.

    Raises:
        UserError: an address is given, or a name that is not UTF-8.
    """
    if re.match(r"[a-z][a-z0-9+.-]+:/", str(path)):
        raise UserError(
            f"{path} looks like an address; give a folder: only `train --data` reads from object stores",
            code=2,
        )
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError as error:  # Parquet files can only be named in UTF-8
        raise UserError(f"the name of the folder {path} is not UTF-8; use another", code=2) from error
    return path


class Runner(StrEnum):
    """Who does the work."""

    local = "local"
    ray = "ray"


ManifestArgument = Annotated[
    str | None,
    typer.Argument(metavar="[MANIFEST]", help="Manifest file, or the name of a bundled one such as `demo`."),
]
OutArgument = Annotated[Path, typer.Argument(metavar="OUT", help="Output folder of a run.", callback=folder)]
InputOption = Annotated[
    list[Path] | None,
    typer.Option("--input", help="Folder, archive or video instead of a manifest; repeatable."),
]
OutputOption = Annotated[
    Path,
    typer.Option("--output", help="Folder to write to; the same command resumes there.", callback=folder),
]
RecipeOption = Annotated[Path | None, typer.Option("--recipe", help="YAML file with what to do.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY.SUB=VALUE", help="Change one recipe value; repeatable."),
]
DonorsOption = Annotated[
    Path | None, typer.Option("--donors", help="Folder of portraits that lend their identity.")
]
StylesOption = Annotated[
    Path | None, typer.Option("--styles", help="Folder of pictures to take styles from.")
]
RunnerOption = Annotated[Runner, typer.Option("--runner", help="This process, or Ray actors.")]
AddressOption = Annotated[
    str | None, typer.Option("--address", help="Ray cluster to join; default: a local Ray.")
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Worker processes; default: all CPUs.")
]
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, help="Curate about this many more sources now (whole parts).")
]
RootOption = Annotated[
    Path | None, typer.Option("--root", help="Where the manifest's footage lies, if elsewhere.")
]
TermsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--accept-terms", metavar="NAME", help="Use a data set whose terms are missing or forbid it."
    ),
]


RootsOption = Annotated[
    list[str] | None,
    typer.Option("--root", metavar="[NAME=]FOLDER", help="Where the footage lies now, if it has moved."),
]
MaxFailedOption = Annotated[
    float,
    typer.Option(
        "--max-failed", min=0, max=1, help="Share of failed sources beyond which the exit code is 3."
    ),
]


def answer(text: str) -> None:
    """A command's own output; control characters of names in it are escaped."""
    typer.echo(plain(text))


def say(text: str) -> None:
    """A line for the person at the terminal, beside a command's own output."""
    typer.echo(plain(text), err=True)
