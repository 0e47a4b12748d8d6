"""Make a data set from videos in Python, with progress and typed results."""

from __future__ import annotations

from small_set import RECIPE, WORK, small_videos

from datagen import Pipeline, Progress, Recipe


def main() -> None:
    """Make `out/examples/set`; running it again resumes, and here finds everything done."""
    recipe = Recipe.load(RECIPE)
    pipeline = Pipeline(
        recipe, runner="local", on_progress=show
    )  # "ray" uses all cores, address="auto" a cluster
    result = pipeline.run(small_videos(), WORK / "set")
    print(f"{result.clips} clips of {result.sources} sources; left out: {result.left_out}")
    print(f"look at {WORK / 'set' / 'sheet.png'}")


def show(now: Progress) -> None:
    """Called at every change."""
    print(f"{now.stage}: {now.done} of {now.total} {now.unit}s, {now.state}")


if __name__ == "__main__":  # workers are processes of their own
    main()
