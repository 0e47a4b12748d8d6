"""Made footage of four people, and the commands of the program called in this process."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from datagen.common.errors import UserError
from datagen.pipeline import engine
from datagen.pipeline.worker import Worker, WorkerSettings
from datagen.runners import Report, Task
from datagen.runners.tasks import attempt
from datagen.shards import Dataset
from tests import support
from tests.support import Answer, head_video

NAMES = ("adalovelace", "bertrandrussell", "carolinehass", "dorothyvaughan")
BROKEN = "bertrandrussell/interview with bertrand.mp4"
RECIPE = """
seed: 11
plan: {sources_per_part: 1, clips_per_unit: 1}
curate: {size: 320, min_frames: 8, max_frames: 10, max_upscale: 3}
donors: {min_distance: 0.4}
stylise: {backends: [arbitrary]}
mask: {foreground: false}
encode: {driving: []}
split: {val: 0.5, test: 0.0}
"""
PLAIN = """
seed: 7
plan: {sources_per_part: 1, clips_per_unit: 1}
curate: {size: 128, min_frames: 8, max_frames: 10, max_upscale: 3}
swap: {backend: off}
stylise: {backends: []}
mask: {foreground: false}
encode: {driving: []}
"""
MANIFEST = """
name: people
root: people
subject: "^(?P<subject>[a-z]+)/"
licence: CC0
consent: yes they agreed
face_swap: allowed
"""
INDEX = "shards", "index", "clips", "failures", "plan/donors", "plan/waves"


@dataclass(frozen=True)
class PeopleSet:
    """A folder with `people/NAME/talk-N.mp4` and `people.yaml`.

    `recipe.yaml` asks for everything, `plain.yaml` for clips alone.
    """

    folder: Path

    @property
    def footage(self) -> Path:
        """Folder of the videos."""
        return self.folder / "people"

    def video(self, number: int) -> Path:
        """Video of a person."""
        return self.footage / NAMES[number] / f"talk-{number}.mp4"

    def words(self, recipe: str = "recipe.yaml") -> list[object]:
        """Manifest and recipe, as words of a command."""
        return [self.folder / "people.yaml", "--recipe", self.folder / recipe]

    def copy(self, folder: Path) -> PeopleSet:
        """Copy everything but outputs into another folder."""
        shutil.copytree(self.folder, folder, ignore=lambda *_: ["out"])
        return PeopleSet(folder)


def make_set(folder: Path) -> PeopleSet:
    """Make the footage, a second of each person."""
    made = PeopleSet(folder)
    for number in range(len(NAMES)):
        made.video(number).parent.mkdir(parents=True)
        head_video(made.video(number), number, 10, number, (512, 512))
    (made.footage / BROKEN).write_bytes(made.video(1).read_bytes()[:3000])
    for name, text in (("people", MANIFEST), ("recipe", RECIPE), ("plain", PLAIN)):
        (folder / f"{name}.yaml").write_text(text)
    return made


def _run_here(
    factory: Callable[[], Any],
    tasks: Iterable[Task],
    on_report: Callable[[Task, Report], None],
    **_: object,
) -> None:
    """In place of the local runner: does the tasks in this process, one after another."""
    assert isinstance(factory, WorkerSettings)
    worker = Worker(factory)
    for task in tasks:
        outcome = attempt(worker, task)
        if outcome.kind == "stop":
            raise UserError(outcome.report["message"], code=outcome.code)
        on_report(task, outcome.report)


def run_in_this_process(patch: pytest.MonkeyPatch) -> None:
    """Let commands with `--runner local` work in this process."""
    patch.setattr(engine, "run_local", _run_here)


def call(*words: object, code: int | None = 0) -> Answer:
    """Run a command in this process, including curation and synthesis; its exit code must be `code`, if given."""
    line = [str(word) for word in words]
    if line[0] in ("run", "curate", "synthesise", "retry") or "--repair" in line:
        line += ["--runner", "local"]
    done = support.call(*line)
    if code is not None and done.exit_code != code:
        raise AssertionError(f"{' '.join(line)}: exit {done.exit_code}\n{done.stdout}\n{done.stderr}")
    return done


def bytes_of(out: Path, folders: tuple[str, ...] = INDEX) -> dict[str, bytes]:
    """Relative path -> content of everything that must not differ between runs."""
    paths = (path for name in folders for path in sorted((out / name).glob("*")) if path.is_file())
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def curated(finished: Path, out: Path) -> Path:
    """Copy a finished output in the state after curation: nothing is frozen or synthesised."""
    for name in (
        "run.json",
        "plan/roots.json",
        "plan/sources-*",
        "plan/waves/*.json",
        "clips/*",
        "failures/*",
    ):
        for path in finished.glob(name):
            target = out / path.relative_to(finished)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    return out


def rows(out: Path) -> list[dict[str, Any]]:
    """The index as a reader sees it."""
    found: list[dict[str, Any]] = Dataset(out).table.to_pylist()
    return found


def table(path: Path) -> list[dict[str, Any]]:
    """Rows of a Parquet file."""
    found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return found
