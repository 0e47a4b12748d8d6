"""The `train` command; the heavy packages are imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from datagen.common.cli_options import answer
from datagen.common.extras import needs_extra
from datagen.common.folders import folder

commands = typer.Typer()

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
ResumeOption = Annotated[bool, typer.Option("--resume", help="Continue from the newest checkpoint of RUN.")]
WhereOption = Annotated[
    str | None, typer.Option("--where", metavar="SQL", help="Choose clips by index columns.")
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, help="Processes; with more than one, or with --address, Ray starts them."
    ),
]
AddressOption = Annotated[str | None, typer.Option("--address", help="Ray cluster to join, or `auto`.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY.SUB=VALUE", help="Change one value of the config; repeatable."),
]


@commands.command(
    epilog="Examples:  megactor-datagen train tiny-image --data out/set --output runs/tiny   |   "
    "megactor-datagen train stage1 --data /data/a --data /data/b --init weights/sd15 --output runs/1 --workers 8"
    "   |   megactor-datagen train stage2 --data /data/a --init runs/1 --output runs/2 --workers 8 --resume"
)
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
    """Train MegActor on finished data sets. After a stop or a crash, --resume continues as if there had been none."""
    with needs_extra("train", "training"):
        from trainer.train.job import Job, load_config, sources_of
        from trainer.train.launch import train_here, train_on_ray

    loaded = load_config(config, assignments or [])
    job = Job(loaded, sources_of(loaded, data, where), output, init, resume)

    if address is None and (workers or 1) == 1:
        train_here(job, answer)
    else:
        train_on_ray(job, workers or 1, address)
