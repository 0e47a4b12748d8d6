"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from datagen.common.folders import folder
from datagen.common.text import plain


class Runner(StrEnum):
    """What runs the tasks."""

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
RecipeOption = Annotated[Path | None, typer.Option("--recipe", help="YAML file with recipe values.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY.SUB=VALUE", help="Change one recipe value; repeatable."),
]
DonorsOption = Annotated[
    Path | None, typer.Option("--donors", help="Folder of donor portraits, whose faces are swapped in.")
]
StylesOption = Annotated[
    Path | None, typer.Option("--styles", help="Folder of pictures to take styles from.")
]
RunnerOption = Annotated[Runner, typer.Option("--runner", help="One process on this machine, or Ray actors.")]
AddressOption = Annotated[
    str | None, typer.Option("--address", help="Ray cluster to join; default: a local Ray.")
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Worker processes; default: all CPUs.")
]
LimitOption = Annotated[
    int | None,
    typer.Option("--limit", min=1, help="Curate about this many more sources now, in whole parts."),
]
RootOption = Annotated[
    Path | None,
    typer.Option("--root", help="Folder of the manifest's footage, if it is not where the manifest says."),
]
TermsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--accept-terms",
        metavar="NAME",
        help="Use this data set although its terms are missing or forbid the use.",
    ),
]


RootsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--root", metavar="[NAME=]FOLDER", help="Folder where the footage lies now, if it has moved."
    ),
]
MaxFailedOption = Annotated[
    float,
    typer.Option(
        "--max-failed", min=0, max=1, help="Exit with code 3 if a larger share of the sources failed."
    ),
]


def answer(text: str) -> None:
    """Print the result of a command to stdout; control characters in it are escaped."""
    typer.echo(plain(text))


def say(text: str) -> None:
    """Print a message for the user to stderr; control characters in it are escaped."""
    typer.echo(plain(text), err=True)
