"""Make a data set from videos in Python, with progress and typed results."""

from __future__ import annotations

from small_set import RECIPE, WORK, small_videos

from datagen import Pipeline, Recipe


def main() -> None:
    """Make `out/examples/set`; running it again resumes, and here finds everything done."""
    recipe = Recipe.load(RECIPE)
    pipeline = Pipeline(recipe, runner="local")  # runner="ray" uses all cores, address="auto" a cluster
    result = pipeline.run(small_videos(), WORK / "set", on_progress=print)
    print(result)
    print(f"look at {WORK / 'set' / 'sheet.png'}")


if __name__ == "__main__":  # workers are processes of their own
    main()
