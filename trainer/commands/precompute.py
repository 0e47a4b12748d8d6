"""The `precompute` command; the heavy packages are imported when it runs."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from datagen.common.cli_options import OutArgument, answer, say
from datagen.common.errors import UserError


class Dtype(StrEnum):
    """Numbers latents are stored in."""

    float16 = "float16"
    float32 = "float32"


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(
        epilog="Example:  megactor-datagen precompute out/set --vae weights/vae --clip weights/clip-vit-large"
    )(precompute)


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
    import torch
    from tqdm import tqdm

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
        say(line)

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
        say(f"{clip_id}: {reason}")
    clips = sum(done.clips for done in made)
    answer(f"{clips} clips of {len(made)} units encoded, {len(failed)} failed")


def _image_size(clip: Path) -> int:
    """Side in pixels of the image a CLIP vision model takes."""
    from transformers import CLIPVisionConfig

    config: Any = CLIPVisionConfig.from_pretrained(clip, local_files_only=True)
    return int(config.image_size)
