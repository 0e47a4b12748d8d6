"""A small data set for the examples: short talking heads of two people, made by code. Nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

from datagen import Pipeline, Recipe
from datagen.bundled.portraits import portraits
from datagen.bundled.talking_head import talking_head
from datagen.media import encode

WORK = Path("out/examples")
RECIPE = Path(__file__).with_name("small.yaml")


def small_videos() -> Path:
    """Folder with a talking head of each of two people, and one file that is no video."""
    folder = WORK / "videos"
    if not folder.exists():
        folder.mkdir(parents=True)
        for portrait in portraits()[:2]:
            frames, _ = talking_head(portrait.image, portrait.landmarks, frames=24, fps=25.0, seed=1)
            encode((frame[::2, ::2] for frame in frames), 25.0, folder / f"{portrait.name}.mp4")
        (folder / "broken.mp4").write_text("This is no video.")
    return folder


def small_set(name: str = "set", *assignments: str) -> Path:
    """Data set of these videos; made when it is not there yet, in about 20 seconds.

    Args:
        name: name of its folder under `out/examples`.
        assignments: recipe values that differ from `small.yaml`, such as `swap.shape=0.5`.
    """
    output = WORK / name
    Pipeline(Recipe.load(RECIPE, *assignments), runner="local").run(small_videos(), output)
    return output
