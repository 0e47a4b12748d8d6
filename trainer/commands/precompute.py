"""The `precompute` command; the heavy packages are imported when it runs."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from datagen.common.cli_options import OutArgument, answer, say
from datagen.common.errors import UserError
from datagen.common.extras import needs_extra

commands = typer.Typer()


class Dtype(StrEnum):
    """Number formats in which latents are stored."""

    float16 = "float16"
    float32 = "float32"


@commands.command(
    epilog="Example:  megactor-datagen precompute out/set --vae weights/vae --clip weights/clip-vit-large"
)
def precompute(
    out: OutArgument,
    vae: Annotated[Path, typer.Option("--vae", metavar="DIR", help="VAE, in the layout of diffusers.")],
    clip: Annotated[
        Path, typer.Option("--clip", metavar="DIR", help="CLIP vision model, in the layout of transformers.")
    ],
    dtype: Annotated[Dtype, typer.Option("--dtype", help="Number format of what is stored.")] = Dtype.float16,
    references: Annotated[
        int, typer.Option("--references", min=1, help="Candidate reference frames of a clip.")
    ] = 4,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Images encoded at once.")] = 8,
    part: Annotated[
        int, typer.Option("--part", min=0, help="Encode every PARTS-th unit, from this number on.")
    ] = 0,
    parts: Annotated[int, typer.Option("--parts", min=1, help="Processes that share the work.")] = 1,
) -> None:
    """Store VAE latents and CLIP tokens beside the shards, so that training need not compute them. Rerun to resume."""
    from tqdm import tqdm

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

    def report(done: Done, left: int) -> None:
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
        on_unit=report,
    )
    failed = {clip_id: reason for done in made for clip_id, reason in done.failed.items()}
    for clip_id, reason in failed.items():
        say(f"{clip_id}: {reason}")
    clips = sum(done.clips for done in made)
    answer(f"{clips} clips of {len(made)} units encoded, {len(failed)} failed")


def _image_size(clip: Path) -> int:
    """Side in pixels of the input image of a CLIP vision model."""
    from transformers import CLIPVisionConfig

    config: Any = CLIPVisionConfig.from_pretrained(clip, local_files_only=True)
    return int(config.image_size)
