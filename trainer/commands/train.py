"""The `train` and `precompute` commands; the heavy packages are imported when a command runs."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from datagen.common.cli_options import OutArgument, folder
from datagen.common.extras import needs_extra


class Dtype(StrEnum):
    """Numbers latents are stored in."""

    float16 = "float16"
    float32 = "float32"


ConfigArgument = Annotated[
    str,
    typer.Argument(
        metavar="CONFIG", help="YAML file, or a bundled one: stage1, stage2, joint, eyes, tiny-image..."
    ),
]
DataOption = Annotated[
    list[str], typer.Option("--data", metavar="OUT", help="Output of `run` or its URI; repeatable.")
]
RunOption = Annotated[
    Path, typer.Option("--output", metavar="RUN", help="Folder of the run.", callback=folder)
]
InitOption = Annotated[
    Path | None,
    typer.Option("--init", metavar="CKPT", help="Weights to start from: a checkpoint, or another run."),
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint of RUN.")]
WhereOption = Annotated[
    str | None, typer.Option("--where", metavar="SQL", help="Choose clips by index columns.")
]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Processes; more than one, or an --address, starts them by Ray."),
]
AddressOption = Annotated[str | None, typer.Option("--address", help="Ray cluster to join, or `auto`.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY.SUB=VALUE", help="Change one value of the config; repeatable."),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command(
        epilog="Examples:  megactor-datagen train tiny-image --data out/set --output runs/tiny   |   "
        "megactor-datagen train stage1 --data /data/a --data /data/b --init weights/sd15 --output runs/1 --workers 8"
        "   |   megactor-datagen train stage2 --data /data/a --init runs/1 --output runs/2 --workers 8 --resume"
    )(train)
    app.command(
        epilog="Example:  megactor-datagen precompute out/set --vae weights/vae --clip weights/clip-vit-large"
    )(precompute)


def train(
    config: ConfigArgument,
    data: DataOption,
    output: RunOption,
    init: InitOption = None,
    resume: ResumeOption = False,
    where: WhereOption = None,
    workers: WorkersOption = None,
    address: AddressOption = None,
    assignments: SetOption = None,
) -> None:
    """Train MegActor from finished data sets. --resume goes on after a stop or a crash as if there had been none."""
    with needs_extra("train", "training"):
        from trainer.train.job import Job, load_config, sources_of
        from trainer.train.launch import train_here, train_on_ray

    loaded = load_config(config, assignments or [])
    job = Job(loaded, sources_of(loaded, data, where), output, init, resume)

    if address is None and (workers or 1) == 1:
        train_here(job)
    else:
        train_on_ray(job, workers or 1, address)


def precompute(
    out: OutArgument,
    vae: Annotated[Path, typer.Option("--vae", metavar="DIR", help="VAE, as diffusers lays it out.")],
    clip: Annotated[
        Path, typer.Option("--clip", metavar="DIR", help="CLIP vision model, as in transformers.")
    ],
    dtype: Annotated[Dtype, typer.Option("--dtype", help="Numbers to store.")] = Dtype.float16,
    references: Annotated[
        int, typer.Option("--references", min=1, help="Candidate reference frames of a clip.")
    ] = 4,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Images encoded at once.")] = 8,
    part: Annotated[int, typer.Option("--part", min=0, help="Do every PARTS-th unit, from this one on.")] = 0,
    parts: Annotated[int, typer.Option("--parts", min=1, help="Processes that share the work.")] = 1,
) -> None:
    """Store VAE latents and CLIP tokens beside the shards, so that training need not make them. Rerun to resume."""
    from tqdm import tqdm

    from datagen.common.errors import UserError

    with needs_extra("train", "precomputing latents"):
        import torch

        from trainer.latents.load import load_encoders
        from trainer.latents.precompute import Done
        from trainer.latents.precompute import precompute as encode_units

    if part >= parts:
        raise UserError(f"--part {part} must lie below --parts {parts}", code=2)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    encoders = load_encoders(vae, clip, device=device, batch=batch)

    started, units = time.monotonic(), 0

    def tell(done: Done, left: int) -> None:
        nonlocal units
        units += 1
        eta = tqdm.format_interval((time.monotonic() - started) / units * left)
        line = f"{done.unit}: {done.clips} clips, {done.frames} frames; {left} units left, about {eta}"
        typer.echo(line, err=True)

    made = encode_units(
        out,
        encoders,
        dtype=dtype.value,
        references=references,
        clip_size=_image_size(clip),
        part=part,
        parts=parts,
        on_unit=tell,
    )
    failed = {clip_id: reason for done in made for clip_id, reason in done.failed.items()}
    for clip_id, reason in failed.items():
        typer.echo(f"{clip_id}: {reason}", err=True)
    clips = sum(done.clips for done in made)
    typer.echo(f"{clips} clips of {len(made)} units encoded, {len(failed)} failed")


def _image_size(clip: Path) -> int:
    """Side in pixels of the image a CLIP vision model takes."""
    from transformers import CLIPVisionConfig

    config: Any = CLIPVisionConfig.from_pretrained(clip, local_files_only=True)
    return int(config.image_size)
