"""`megactor-datagen weights ...`: commands over the registry, the importers and the exporter."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from datagen.common.cli_options import answer
from datagen.common.errors import UserError
from datagen.common.extras import needs_extra
from datagen.common.text import plain_json

if TYPE_CHECKING:
    import torch

    from datagen.weights.listing import ShippedNetwork
    from trainer.model.config import MegActorConfig

_DLIB_BYTES = 22_466_066  # size of dlib's face recognition network

app = typer.Typer(
    no_args_is_help=True,
    help="External weights: list, fetch and verify them, import them to checkpoints; export checkpoints.",
)

CacheOption = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        help="Folder of fetched weights; default $MEGACTOR_DATAGEN_CACHE or ~/.cache/megactor-datagen/weights.",
    ),
]


@app.command(
    "list", epilog="Examples:  megactor-datagen weights list   |   megactor-datagen weights list sd15 --json"
)
def list_weights(
    names: Annotated[
        list[str] | None, typer.Argument(help="Only these, with every file and its sha256.")
    ] = None,
    cache: CacheOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")] = False,
) -> None:
    """List every external weight: source, size, licence, what uses it, whether it was fetched."""
    from datagen.weights.listing import rows, text

    found = [row for row in rows(cache, _shipped()) if not names or row.name in names]
    unknown = set(names or []) - {row.name for row in found}
    if unknown:
        raise UserError(
            f"{', '.join(sorted(unknown))}: not a known weight; see: megactor-datagen weights list", code=2
        )
    if as_json:
        answer(plain_json(json.dumps([asdict(row) for row in found], indent=1)))
    else:
        answer("\n".join(text(row, bool(names)) for row in found))


@app.command(
    epilog="Examples:  megactor-datagen weights fetch sd15 animatediff-v3   |   "
    "megactor-datagen weights fetch inswapper --allow-noncommercial   |   "
    "megactor-datagen weights fetch clip-vit-l14 --from /media/usb/weights"
)
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
    force: Annotated[
        bool, typer.Option("--force", help="Fetch again, even what was fetched before.")
    ] = False,
) -> None:
    """Fetch weights and check their size and sha256. An interrupted download resumes."""
    from datagen.weights.fetch import check_terms
    from datagen.weights.fetch import fetch as fetch_one
    from datagen.weights.registry import weight

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
        answer(f"{name}: {path}")


@app.command(epilog="Example:  megactor-datagen weights verify sd15")
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Names; default all that were fetched.")] = None,
    cache: CacheOption = None,
) -> None:
    """Hash fetched weights again and compare with the registry or, where it has no sha256, with the first fetch."""
    from datagen.weights.cache import cache_folder, read_receipt
    from datagen.weights.cache import verify as verify_one
    from datagen.weights.registry import WEIGHTS

    root = cache_folder(cache)
    chosen = names or [entry.name for entry in WEIGHTS if read_receipt(root / entry.name)]
    faults = 0
    for name in chosen:
        for record, fault in verify_one(name, cache):
            faults += bool(fault)
            state = fault or ("ok, pinned sha256" if record.pinned else "ok, sha256 as first fetched")
            answer(f"{name}/{record.path}: {state}")
    if not chosen:
        answer(f"nothing fetched in {root}")
    if faults:
        raise UserError(
            f"{faults} faulty file(s) in {root}; run: megactor-datagen weights fetch NAME --force"
        )


OutputOption = Annotated[Path, typer.Option("--output", help="File or folder to make; must not exist.")]
DtypeOption = Annotated[
    str | None, typer.Option("--dtype", help="float32, float16 or bfloat16; default: as in the source.")
]


@app.command(
    "import",
    epilog="Examples:  megactor-datagen weights import sd15 --output start   |   "
    "megactor-datagen weights import animatediff-v3 v3_sd15_mm.ckpt --base start --output start-motion   |   "
    "megactor-datagen weights import checkpoint-steps9000.ckpt --output megactor-v1",
)
def import_command(
    kind_and_source: Annotated[
        list[str],
        typer.Argument(
            metavar="[KIND] SOURCE",
            help="KIND is sd15, animatediff-v3, appearance-encoder or megactor; default: detected. "
            "SOURCE is a file, a folder, or the name of a fetched weight.",
        ),
    ],
    output: OutputOption,
    base: Annotated[
        Path | None,
        typer.Option(help="Checkpoint from which everything else is taken; default: initialised."),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(help="Preset (published, default, tiny) or JSON file; default: as the source."),
    ] = None,
    dtype: DtypeOption = None,
    seed: Annotated[int, typer.Option(help="Seed of the weights that are initialised.")] = 0,
    cache: CacheOption = None,
) -> None:
    """Convert published weights to a checkpoint folder (safetensors and JSON)."""
    with needs_extra("train", "importing weights"):
        from trainer.checkpoints.importers import KINDS, import_weights

    *kinds, source = kind_and_source
    if len(kinds) > 1 or any(kind not in KINDS for kind in kinds):
        raise UserError(f"give [KIND] SOURCE, where KIND is one of {', '.join(KINDS)}", code=2)
    origins = import_weights(
        _source(source, cache),
        output,
        kind=next((kind for kind in KINDS if kind in kinds), None),
        base=base,
        config=_config(config),
        dtype=_dtype(dtype),
        seed=seed,
    )
    for group, origin in sorted(origins.items()):
        answer(f"{group}: {origin}")
    answer(f"checkpoint: {output}")


@app.command(epilog="Example:  megactor-datagen weights export run/last --layout megactor --output ours.ckpt")
def export(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint folder.")],
    output: OutputOption,
    layout: Annotated[str, typer.Option(help="Layout of the file: megactor.")] = "megactor",
    dtype: DtypeOption = None,
) -> None:
    """Write a checkpoint as one file in the published layout (.ckpt or .safetensors)."""
    with needs_extra("train", "exporting weights"):
        from trainer.checkpoints.exporter import export_megactor

    if layout != "megactor":
        raise UserError(f"--layout {layout!r} is unknown; give megactor", code=2)
    export_megactor(checkpoint, output, dtype=_dtype(dtype))
    answer(f"exported: {output}")


def _shipped() -> list[ShippedNetwork]:
    """Networks that come with the package or its dependencies."""
    from datagen.faces.identity import INFO
    from datagen.faces.mediapipe.shipped import MANIFEST_NAME, WEIGHTS
    from datagen.weights.listing import ShippedNetwork

    found = []
    for model in json.loads((WEIGHTS / MANIFEST_NAME).read_text(encoding="utf-8")):
        size = (WEIGHTS / model["file"]).stat().st_size
        found.append(ShippedNetwork(model["name"], "the package", size, model["sha256"], model["licence"]))
    found.append(ShippedNetwork(INFO.name, INFO.version, _DLIB_BYTES, INFO.sha256, INFO.licence))
    return found


def _source(text: str, cache: Path | None) -> Path:
    from datagen.weights.cache import local_path
    from datagen.weights.registry import WEIGHTS

    fetched = not Path(text).exists() and any(entry.name == text for entry in WEIGHTS)
    return local_path(text, cache) if fetched else Path(text)


def _dtype(name: str | None) -> torch.dtype | None:
    if name is None:
        return None
    import torch

    known = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    if name not in known:
        raise UserError(f"--dtype {name!r}: choose one of {', '.join(known)}", code=2)
    return known[name]


def _config(name: str | None) -> MegActorConfig | None:
    from trainer.checkpoints.tensor_files import read_json
    from trainer.model.config import PRESETS, MegActorConfig

    if name is None or name in PRESETS:
        return None if name is None else PRESETS[name]
    document = read_json(Path(name))
    values = document.get("config", document)  # a checkpoint's config.json holds it under `config`
    try:
        return MegActorConfig.from_dict(values if isinstance(values, dict) else document)
    except (ValueError, TypeError) as error:
        raise UserError(f"--config {name}: {error}", code=2) from error
