"""The pipeline with only its media work replaced: sources are texts that say whom they show, see `films`.

Everything else is real: listing, plan, waves, tables, shards, tombstones, cards. Streams and portraits hold the
names of the people they show, so that a search through all bytes finds what is left of a person.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from datagen.common.errors import Refusal, UserError
from datagen.donors.donor import Donor
from datagen.donors.pool import Pool
from datagen.imaging.files import image_files, image_sha256
from datagen.output.ids import key_hash
from datagen.output.schema import CLIP
from datagen.runners.isolate import Crashed
from datagen.runners.tasks import attempt
from datagen.shards import Dataset
from datagen.synthesise.backends import Backends
from datagen.synthesise.made_clip import MadeClip
from datagen.synthesise.styled import choose_style
from datagen.weights.onnx import ModelInfo
from tests.end_to_end.films import BUNDLED, STYLES, Film, embedding, png, read_film
from tests.end_to_end.pausable import owner_id, pause

MODEL = ModelInfo("none", "1", "0" * 64, "Apache-2.0")


class CrashError(BaseException):
    """Stands for the death of a worker's process; nothing between the source and the runner may catch it."""


def curate_source(
    row: dict, recipe: Any, analyser: Any, scratch: Path, refused: dict, files: Any
) -> tuple[list[dict], list[dict]]:
    """In place of `datagen.curate.source.curate_source`."""
    from datagen.curate.source import CARRIED
    from datagen.output.failures import failure_row

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
        return [], [failure_row(row["part"], row["source"], refusal, stage="curate")]


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
    from datagen.donors.candidates import refusal_columns

    pause("cut portrait")
    clip = cut.clip
    name = {"name": clip["clip_id"]}
    try:
        if clip["clip_id"] in refused:
            raise Refusal(*refused[clip["clip_id"]])
        with files.open(cut.source, scratch, clip["source_sha256"]) as opened:
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
        stylist, style = choose_style(row, recipe, backends, pool, withdrawn)
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
    """In place of the stages' `_run`: a task whose process dies is isolated, as the runners do after two losses."""
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
    """Replace the media work by the functions of this module."""
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
        "datagen.pipeline.freeze.FaceAnalyser": lambda: None,
        "datagen.pipeline.freeze.measured_portraits": measured_portraits,
        "datagen.pipeline.inputs.content_hashes": content_hashes,
        "datagen.pipeline.engine._run": run_in_process,
        "datagen.maintain.withdraw.bundled_portraits": lambda: BUNDLED,
        "datagen.pipeline.summary.save_sheet": save_sheet,
        "datagen.pipeline.run_record._versions": dict,
        "datagen.pipeline.run_record._codec": lambda ffmpeg: {},
        "datagen.pipeline.progress.owner_id": owner_id,
        "datagen.pipeline.progress.RunProgress._print": lambda progress: None,
    }.items():
        patch.setattr(name, stand_in)
