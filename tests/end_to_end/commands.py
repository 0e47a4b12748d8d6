"""The commands over the cheap pipeline, called as `cli.py` and `datagen/commands` call them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datagen.imaging.files import image_files, image_sha256
from datagen.inspect.verify import verify
from datagen.maintain.purge import compact
from datagen.maintain.repair import repair
from datagen.maintain.retry import plan_retry
from datagen.maintain.withdraw import remove
from datagen.output.paths import Output
from datagen.pipeline import stages
from datagen.pipeline.engine import Engine
from datagen.pipeline.footage import Footage
from datagen.pipeline.inputs import RunOptions, gather, resume
from datagen.pipeline.retries import plan_remakes
from datagen.pipeline.run_record import require_plan
from datagen.pipeline.summary import finish, refresh
from tests.end_to_end.films import BUNDLED, MANIFEST, RECIPE

ENGINE = Engine("local")


@dataclass
class Place:
    """Folders of a data set.

    Attributes:
        films: folder of the sources.
        donors: folder of portraits, None for the bundled ones.
    """

    out: Output
    films: Path
    donors: Path | None

    @property
    def portraits(self) -> dict[str, str]:
        """Name of each portrait that is not of the set -> sha256."""
        if self.donors is not None:
            return {path.name: image_sha256(path) for path in image_files(self.donors)}
        return {item.name: hashlib.sha256(item.image.tobytes()).hexdigest() for item in BUNDLED}

    def inputs(self, roots: tuple[str, ...] = ()) -> Any:
        """Inputs as every command after `plan` reads them."""
        return resume(self.out, RunOptions(), list(roots), say)

    def repair(self) -> None:
        """`verify --repair`."""
        found = verify(self.out.root)
        if found.damaged_units or found.damaged_pieces:
            repair(self.out, self.inputs(), ENGINE, found)


def say(text: str) -> None:
    """Ignore a message."""


def _plan(place: Place) -> Any:
    footage = Footage(((MANIFEST, place.films),), RECIPE)
    given = gather(place.out, footage.recipe, RunOptions(donors=place.donors), say)
    stages.plan(place.out, footage, given, say)
    return given


def _run(place: Place, limit: int | None) -> None:
    given = _plan(place)
    curated, made = stages.run(place.out, given, ENGINE, limit)
    finish(place.out, given, curated, made)


def _curate(place: Place, limit: int | None) -> None:
    given = place.inputs()
    waves = stages.cut(place.out, given, limit)
    stages.curate(place.out, given, ENGINE, waves, limit)


def _synthesise(place: Place, _: Any) -> None:
    given = place.inputs()
    finish(place.out, given, [], [stages.synthesise(place.out, given, ENGINE)])


def _retry(place: Place, reasons: list[str]) -> None:
    given = place.inputs()
    plan_remakes(place.out)
    plan_retry(place.out, reasons)
    curated = stages.curate(place.out, given, ENGINE, [])
    finish(place.out, given, [curated], [stages.synthesise(place.out, given, ENGINE)])


def _remove(place: Place, what: dict[str, str]) -> None:
    require_plan(place.out)
    remove(place.out, **what)  # type: ignore[arg-type]
    refresh(place.out)


def _compact(place: Place, purge: bool) -> None:
    require_plan(place.out)
    compact(place.out, purge=purge)
    if purge:
        refresh(place.out)


COMMANDS: dict[str, Callable[[Place, Any], Any]] = {
    "plan": lambda place, _: _plan(place),
    "curate": _curate,
    "synthesise": _synthesise,
    "run": _run,
    "retry": _retry,
    "remove": _remove,
    "compact": lambda place, _: _compact(place, False),
    "purge": lambda place, _: _compact(place, True),
}
