"""`megactor-datagen weights ...`: thin commands over the registry, the importers and the exporter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from datagen.errors import UserError

app = typer.Typer(
    no_args_is_help=True,
    help="External weights: list, fetch and verify them; import them to checkpoints, export ours.",
)

CacheOption = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        help="Folder of fetched weights; default $MEGACTOR_DATAGEN_CACHE or ~/.cache/megactor-datagen/weights.",
    ),
]


@app.command("list")
def list_weights(
    cache: CacheOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")] = False,
) -> None:
    """Every external weight: source, size, licence, what uses it, whether it is here.

    Example: megactor-datagen weights list --json
    """
    from trainer.weights.describe import rows

    found = rows(cache)
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    table = Table("name", "what", "size", "licence", "commercial", "here")
    for row in found:
        table.add_row(*(str(row[key]) for key in ("name", "title", "size", "licence", "commercial", "state")))
    Console().print(table)


@app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(help="Names from `weights list`.")],
    cache: CacheOption = None,
    endpoint: Annotated[
        str | None, typer.Option(help="Address of a hub mirror; default $HF_ENDPOINT or huggingface.co.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from", help="Copy from a folder (or an http address that serves NAME/PATH); no hub needed."
        ),
    ] = None,
    allow_noncommercial: Annotated[
        bool,
        typer.Option(
            "--allow-noncommercial", help="Accept licences that forbid or leave open commercial use."
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Fetch again, even when it is here.")] = False,
) -> None:
    """Fetch weights, checked by size and sha256; an interrupted download resumes.

    Examples: megactor-datagen weights fetch sd15 animatediff-v3 --
    megactor-datagen weights fetch inswapper --allow-noncommercial --
    megactor-datagen weights fetch clip-vit-l14 --from /media/usb/weights
    """
    from trainer.weights.fetch import check_terms
    from trainer.weights.fetch import fetch as fetch_one
    from trainer.weights.registry import weight

    for name in names:  # refuse before anything is downloaded
        check_terms(weight(name), allow_noncommercial)
    for name in names:
        path = fetch_one(
            name,
            cache=cache,
            endpoint=endpoint,
            source=source,
            allow_noncommercial=allow_noncommercial,
            force=force,
        )
        typer.echo(f"{name}: {path}")


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Names; default all that were fetched.")] = None,
    cache: CacheOption = None,
) -> None:
    """Hash fetched weights again, against the registry or, where it names no sha256, against the first fetch.

    Example: megactor-datagen weights verify sd15
    """
    from trainer.weights.cache import cache_folder, read_receipt
    from trainer.weights.cache import verify as verify_one
    from trainer.weights.registry import WEIGHTS

    root = cache_folder(cache)
    chosen = names or [entry.name for entry in WEIGHTS if read_receipt(root / entry.name)]
    faults = 0
    for name in chosen:
        for record, fault in verify_one(name, cache):
            faults += bool(fault)
            state = fault or ("ok, pinned sha256" if record.pinned else "ok, sha256 as first fetched")
            typer.echo(f"{name}/{record.path}: {state}")
    if not chosen:
        typer.echo(f"nothing fetched in {root}")
    if faults:
        raise UserError(
            f"{faults} faulty file(s) in {root}; run: megactor-datagen weights fetch NAME --force"
        )
