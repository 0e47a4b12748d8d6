"""The pipeline with nothing but the media work replaced: sources are tiny texts that say whom they show.

Everything else is real: listing, plan, waves, tables, shards, tombstones, cards. Streams and portraits hold the name of
whom they show, so that a search through all bytes finds whatever is left of somebody.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from datagen.common.errors import Refusal, UserError
from datagen.donors.donor import Donor
from datagen.donors.pool import Pool
from datagen.imaging.files import image_files, image_sha256
from datagen.output.ids import key_hash
from datagen.output.paths import Output
from datagen.output.schema import CLIP
from datagen.runners import Task
from datagen.runners.isolate import Crashed
from datagen.runners.tasks import attempt
from datagen.shards import Dataset
from datagen.sources.manifest import Manifest
from datagen.synthesise.backends import Backends
from datagen.synthesise.clip import MadeClip, _choose_style
from datagen.synthesise.stylise.style import Style
from datagen.weights.onnx import ModelInfo
from tests.end_to_end.actors import owner_id, pause

RECIPE: dict[str, Any] = {
    "seed": 3,
    "plan": {"sources_per_part": 2, "clips_per_unit": 2, "sources_per_wave": 4},
    "split": {"val": 0.25, "test": 0.2},
    "donors": {"max_pool": 6},
}
TERMS = {
    "use": "any",
    "derivatives": "allowed",
    "sharing": "allowed",
    "licence": "test",
    "consent": "given",
    "credit": "nobody",
}
MANIFEST = Manifest(name="cheap", subject=r"^(?P<subject>zqs[a-z]+)_", licence="test", consent="given")
MODEL = ModelInfo("none", "1", "0" * 64, "Apache-2.0")
STYLES = (
    Style("grey", None, "filter", "1" * 64, "Apache-2.0"),
    Style("wave", np.zeros((2, 2, 3), np.uint8), "art", "2" * 64, "Apache-2.0"),
)
SHOWN = "video.txt", "swapped.txt", "styled.txt"


class CrashError(BaseException):
    """In place of a process that dies: nothing between the source and the runner may catch it."""


@dataclass(frozen=True)
class Film:
    """What a source says of itself.

    Attributes:
        token: name found nowhere else.
        person: number of the person it shows, None where the identity cannot be measured.
        clips: how many clips it gives.
        score: as a donor, None where it is none.
        footage: equal numbers are the same footage.
        state: `sound`, `broken` (cannot be curated), `fails` (cannot be made), `kills` (its process), `plain` (its
            portrait is refused).
        version: makes other bytes.
    """

    token: str
    person: int | None
    clips: int = 1
    score: float | None = 0.5
    footage: int = 0
    state: str = "sound"
    version: int = 0

    def write(self, path: Path) -> None:
        """Write the source."""
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(asdict(self)))


@dataclass(frozen=True)
class Portrait:
    """A bundled portrait."""

    name: str
    person: int
    licence: str = "CC0-1.0"

    @property
    def image(self) -> np.ndarray:
        """Pixels that tell whom it shows."""
        return np.full((4, 4, 3), self.person, np.uint8)


BUNDLED = (Portrait("zqbanja", 1), Portrait("zqbgert", 90), Portrait("zqbhugo", 91), Portrait("zqbjutta", 92))
"""The first of them shows a person whom sources may show too."""


def read_film(path: Path) -> Film:
    """What a source says."""
    return Film(**json.loads(path.read_text()))


def embedding(person: int) -> np.ndarray:
    """Identity of a person: as far from all others as can be."""
    return np.eye(128, dtype=np.float32)[person]


def png(value: int, token: str) -> bytes:
    """A picture that names somebody."""
    _, data = cv2.imencode(".png", np.full((4, 4, 3), value, np.uint8))
    return data.tobytes() + f"PORTRAIT:{token}".encode()


def curate_source(
    row: dict, recipe: Any, analyser: Any, scratch: Path, refused: dict, files: Any
) -> tuple[list[dict], list[dict]]:
    """In place of `datagen.curate.source.curate_source`."""
    from datagen.curate.source import CARRIED, failure

    pause("curate source")
    try:
        if row["source_key"] in refused:
            raise Refusal(*refused[row["source_key"]])
        with files.open(row, scratch) as opened:
            film = read_film(opened.path)
            if film.state == "kills":
                raise CrashError
            if film.state == "broken":
                raise Refusal("damaged", "the source is broken")
            carried = {name: row[name] for name in CARRIED} | {"source_sha256": opened.sha256}
            stem = f"{row['name']}-{key_hash(row['source_key'])}"
            clips = [
                {"clip_id": f"{stem}-t0-f{10 * n}", "part": row["part"], **carried, **_measured(film, n)}
                for n in range(film.clips)
            ]
            pause("curated source")
        return clips, []
    except Refusal as refusal:
        return [], [failure(row, None, refusal)]


def _measured(film: Film, number: int) -> dict[str, Any]:
    hashes = np.random.default_rng([film.footage, number]).integers(2**63, 2**64, 4, np.uint64)
    values = {column.name: 1.0 for column in CLIP if column.name not in ("crop", "padding", "face_boxes")}
    return values | {
        "has_audio": False,
        "crop": {"x": 0, "y": 0, "size": 64},
        "padding": {"left": 0, "top": 0, "right": 0, "bottom": 0},
        "face_boxes": [[0, 0, 9, 9]],
        "start_s": float(number),
        "end_s": number + 1.0,
        **{"frames": 10, "fps": 25.0, "size": 64, "source_width": 64, "source_height": 64, "face_count": 1},
        "source_frames": list(range(10 * number, 10 * number + 10)),
        "embedding": None if film.person is None else embedding(film.person).tolist(),
        "donor_score": film.score,
        "donor_frame": 10 * number,
        "frame_hashes": hashes.tolist(),
    }


def cut_portrait(cut: dict, analyser: Any, files: Any, scratch: Path, refused: dict) -> dict[str, Any]:
    """In place of `datagen.curate.portrait.cut_portrait`."""
    from datagen.donors.choose import refusal_columns

    pause("cut portrait")
    clip = cut["clip"]
    name = {"name": clip["clip_id"]}
    try:
        if clip["clip_id"] in refused:
            raise Refusal(*refused[clip["clip_id"]])
        with files.open(cut["source"], scratch, clip["source_sha256"]) as opened:
            film = read_film(opened.path)
            if film.state == "plain":
                raise Refusal("expression", "no neutral face")
            assert film.person is not None
            image = png(film.person, film.token)
    except Refusal as refusal:
        return name | refusal_columns(refusal)
    return name | _portrait(image, film.person) | {"sha256": hashlib.sha256(image).hexdigest()}


def _portrait(image: bytes, person: int) -> dict[str, Any]:
    return {
        "score": 0.5,
        "embedding": embedding(person).tolist(),
        "landmarks": [0.0] * 468 * 3,
        "colour": True,
        "image": image,
        "reason": None,
    }


def measured_portraits(donors: Path | None, recipe: Any, analyser: Any) -> list[dict[str, Any]]:
    """In place of `measured_portraits`: pictures of `--donors` are named `<token>-<person>.png`."""
    if donors is None:
        return [
            {"name": item.name, "origin": "bundled", "licence": item.licence,
             "sha256": hashlib.sha256(item.image.tobytes()).hexdigest(),
             **_portrait(png(item.person, item.name), item.person)}
            for item in BUNDLED
        ]  # fmt: skip
    return [
        {"name": path.name, "origin": "donors", "licence": "test", "sha256": image_sha256(path),
         **_portrait(path.read_bytes(), int(path.stem.partition("-")[2]))}
        for path in image_files(donors)
    ]  # fmt: skip


def content_hashes(recipe: Any, donors: Path | None, styles: Path | None, say: Any = None) -> dict[str, str]:
    """In place of `datagen.pipeline.content_hashes.content_hashes`."""
    found = [row["sha256"] for row in measured_portraits(donors, recipe, None)]
    return {f"donor {sha256[:16]}": sha256 for sha256 in found}


def make_clip(
    row: dict, source: Path, recipe: Any, backends: Any, pool: Pool, withdrawn: frozenset[str], scratch: Path
) -> MadeClip:
    """In place of `datagen.synthesise.clip.make_clip`, with its choice of donors and styles."""
    pause("make clip")
    film = read_film(source)
    if film.state == "kills":
        raise CrashError
    if film.state == "fails":
        raise Refusal("damaged", "the clip cannot be made")
    made = MadeClip(columns={"augmentations": []})
    made.files["video.txt"] = f"SHOWS:{film.token} {row['clip_id']}".encode()
    try:
        identity = None if row["embedding"] is None else np.asarray(row["embedding"], np.float32)
        offered = pool.choose(
            row["clip_id"], row["rank"], row["split"], identity,
            row["source"], row["subject"], row["person"], recipe,
        )  # fmt: skip
        donor, distance = next(offered)
        made.files["swapped.txt"] = f"SHOWS:{film.token} WEARS:{donor.name}".encode()
        made.columns |= _worn(donor, distance, pool)
    except Refusal as refusal:
        made.left_out["swapped"] = refusal
        made.columns["swap_refused"] = str(refusal)
    try:
        stylist, style = _choose_style(row, recipe, backends, pool, withdrawn)
        made.files["styled.txt"] = f"SHOWS:{film.token} STYLE:{style.name}".encode()
        made.columns |= {"style": style.name, "style_sha256": style.sha256, "stylist": stylist.name}
    except Refusal as refusal:
        made.left_out["styled"] = refusal
        made.columns["style_refused"] = str(refusal)
    pause("made clip")
    return made


def _worn(donor: Donor, distance: float | None, pool: Pool) -> dict[str, Any]:
    return {
        "donor": donor.name,
        "donor_sha256": donor.sha256,
        "donor_pool": pool.sha256,
        "donor_to_source": distance,
        "swapper": "mesh (weak)",
    }


def run_in_process(engine: Any, settings: Any, tasks: Any, on_report: Any, supervision: Any) -> None:
    """In place of the stages' `_run`: a process that dies isolates its task, as the runners do after some losses."""
    worker = settings()
    for task in tasks:
        pause("task")
        task = replace(task, limit_s=None)
        try:
            outcome = attempt(worker, task)
        except CrashError:
            outcome = attempt(worker, replace(task, isolate=True))
        if outcome.kind == "stop":
            raise UserError(outcome.report["message"], code=outcome.code)
        if outcome.kind == "error":
            raise AssertionError(f"{task.key}: {outcome.report}")
        on_report(task, outcome.report)


def call_isolated(function: Callable[..., Any], *arguments: Any, timeout_s: float | None = None) -> Any:
    """In place of `datagen.runners.isolate.call_isolated`."""
    try:
        return function(*pickle.loads(pickle.dumps(arguments)))
    except CrashError as error:
        raise Crashed("the process died") from error


def save_sheet(dataset: Dataset, clip_ids: list[str], path: Path) -> None:
    """In place of `datagen.inspect.contact_sheet.save_sheet`: what the clips hold, one after another."""
    rows = [dataset.clip(clip_id) for clip_id in clip_ids]
    path.write_bytes(b"\n".join(data for row in rows for data in dataset.read_all(row).values()))


def install(patch: pytest.MonkeyPatch) -> None:
    """Put all this in place."""
    stylists = {name: SimpleNamespace(name=name, models=(MODEL,)) for name in ("arbitrary", "filter")}
    analyser, swapper = SimpleNamespace(models=(MODEL,)), SimpleNamespace(models=(MODEL,), name="mesh")
    load = SimpleNamespace(
        load=lambda recipe, styles: Backends(recipe, analyser, swapper, stylists, styles, {})
    )
    for name, stand_in in {
        "datagen.pipeline.worker.curate_source": curate_source,
        "datagen.pipeline.worker.cut_portrait": cut_portrait,
        "datagen.pipeline.worker.call_isolated": call_isolated,
        "datagen.pipeline.worker.load_styles": lambda folder, recipe: STYLES,
        "datagen.pipeline.worker.Backends": load,
        "datagen.synthesise.unit.make_clip": make_clip,
        "datagen.pipeline.stages.FaceAnalyser": lambda: None,
        "datagen.pipeline.stages.measured_portraits": measured_portraits,
        "datagen.pipeline.stages.content_hashes": content_hashes,
        "datagen.pipeline.stages._run": run_in_process,
        "datagen.maintain.withdraw.bundled_portraits": lambda: BUNDLED,
        "datagen.pipeline.summary.save_sheet": save_sheet,
        "datagen.pipeline.run_record._versions": dict,
        "datagen.pipeline.run_record._codec": lambda ffmpeg: {},
        "datagen.pipeline.progress.owner_id": owner_id,
        "datagen.pipeline.progress.RunProgress._print": lambda progress: None,
    }.items():
        patch.setattr(name, stand_in)


def streams(out: Output | Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Clip ids that a reader sees, each with the hashes of its streams."""
    dataset = Dataset(out.root if isinstance(out, Output) else out)
    for row in dataset.table.to_pylist():
        members = {item["name"].partition(".")[2]: item["sha256"] for item in row["members"]}
        yield row["clip_id"], {name: members[name] for name in SHOWN if name in members}


__all__ = ["Film", "Portrait", "Task", "install", "read_film", "streams"]
