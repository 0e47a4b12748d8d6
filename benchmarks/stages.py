"""The pipeline, and the same operations one stage at a time as published scripts chain them.

    python -m benchmarks.stages pipeline|chain OUT     (called by benchmarks.pipeline, on one core)

`pipeline` curates and synthesises a planned output in this process. `chain` then does the same to its clips, donors and
styles stage by stage: each reads a tar, decodes the streams it works on, does its one operation, encodes those streams
and its result, and writes everything to a new tar; loading of models is not counted there. Both print JSON: processor
seconds per operation, of this process and of ffmpeg, so that other work on the machine does not count.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow.parquet as pq

from datagen.donors.donor import Donor
from datagen.donors.pool import Pool
from datagen.driving.augment import Augmentation
from datagen.driving.mask import mask_driving
from datagen.faces import Faces
from datagen.faces.foreground import foreground
from datagen.media import decode_bytes, encode
from datagen.output.paths import Output
from datagen.pipeline.engine import Engine
from datagen.pipeline.freeze import freeze
from datagen.pipeline.inputs import RunOptions, resume
from datagen.pipeline.pending import curate_tasks, synthesise_tasks
from datagen.pipeline.progress import add_up
from datagen.pipeline.run_record import read_record, recorded_recipe
from datagen.pipeline.stages import cut
from datagen.pipeline.worker import WorkerSettings
from datagen.plan.parts import read_plan
from datagen.recipe import Recipe
from datagen.runners.tasks import Report, single_threaded
from datagen.shards import Dataset
from datagen.sources.roots import absolute, read_roots
from datagen.synthesise.backends import Backends
from datagen.synthesise.clip import read_crop, track_face
from datagen.synthesise.gates import identity_columns, motion_columns
from datagen.synthesise.stylise.style import Style
from datagen.synthesise.stylise.styles import load_styles

Sample = dict[str, bytes]
Streams = dict[str, np.ndarray]
COLOUR = ("video", "swapped", "styled")


@dataclass
class Chain:
    """What the stages share: the clips, the backends, and the time spent so far."""

    rows: dict[str, dict[str, Any]]
    paths: dict[str, Path]
    recipe: Recipe
    backends: Backends
    pool: Pool
    seconds: Counter[str]

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the time of the block."""
        started = processor_seconds()
        yield
        self.seconds[name] += processor_seconds() - started

    def crop(self, clip: str, streams: Streams, faces: Faces | None) -> Streams:
        row = self.rows[clip]
        with self.timed("decode"):
            return {"video": read_crop(row, self.paths[row["source"]], self.recipe)}

    def track(self, clip: str, streams: Streams, faces: Faces | None) -> Faces:
        with self.timed("track"):
            return track_face(streams["video"], self.rows[clip], self.backends.analyser)

    def swap(self, clip: str, streams: Streams, faces: Faces) -> Streams:
        assert self.backends.swapper is not None
        with self.timed("swap"):
            return {"swapped": self.backends.swapper(streams["video"], faces, self.donor(clip), 0)}

    def stylise(self, clip: str, streams: Streams, faces: Faces) -> Streams:
        row = self.rows[clip]
        portraits = (
            Style(f"portrait {donor.name}", donor.image, "portrait", donor.sha256) for donor in self.donors
        )
        style = next(style for style in (*self.backends.styles, *portraits) if style.name == row["style"])
        with self.timed("stylise"):
            return {"styled": self.backends.stylists[row["stylist"]](streams["video"], faces, style, 0)}

    def measure(self, clip: str, streams: Streams, faces: Faces) -> Streams:
        source = streams.pop("video")
        ((name, result),) = streams.items()
        streams["video"] = source
        analyser = self.backends.analyser
        with self.timed("measure"):
            again = analyser.track(result, irises=False)
            motion_columns(name, source, faces, result, again)
            if name == "swapped":
                frames = self.recipe.swap.identity_frames
                identity_columns(source, faces, result, again, self.donor(clip), analyser, frames)
        return {}

    def augment(self, clip: str, streams: Streams, faces: Faces) -> Streams:
        with self.timed("augment"):
            return {
                f"driving_{name}": self.augmentation(clip, name).apply(frames, faces.box)[0]
                for name, frames in streams.items()
            }

    def mask(self, clip: str, streams: Streams, faces: Faces) -> Streams:
        grey = {}
        for name, frames in streams.items():
            drawn = self.augmentation(clip, name.removeprefix("driving_"))
            boxes = drawn.apply(frames[:1], faces.box)[1]
            with self.timed("mask"):
                grey[name] = mask_driving(frames, boxes)
        streams.clear()
        return grey

    def foreground(self, clip: str, streams: Streams, faces: Faces) -> Streams:
        with self.timed("mask"):
            return {"mask": foreground(streams["video"], self.backends.analyser)}

    def augmentation(self, clip: str, stream: str) -> Augmentation:
        """The augmentation that the pipeline drew."""
        drawn = next(item for item in self.rows[clip]["augmentations"] if item["stream"] == stream)
        return Augmentation(drawn["scale"], drawn["aspect"])

    @property
    def donors(self) -> list[Donor]:
        """Usable donors of the pool."""
        return [member.donor for member in self.pool.members if member.donor is not None]

    def donor(self, clip: str) -> Any:
        """The donor that the pipeline chose."""
        return next(donor for donor in self.donors if donor.sha256 == self.rows[clip]["donor_sha256"])

    def run(
        self, before: Path | None, after: Path, needs: Sequence[str], do_tasks: Callable[..., Any]
    ) -> None:
        """One stage: tar in, tar out."""
        samples = _read(before) if before else ((clip, {}) for clip in self.rows)
        with tarfile.open(after, "w") as tar:
            while True:
                with self.timed("tar"):
                    found = next(samples, None)
                if found is None:
                    return
                clip, sample = found
                with self.timed("decode"):
                    streams = {
                        name: decode_bytes(sample[f"{name}.mp4"]) for name in needs if f"{name}.mp4" in sample
                    }
                faces = _faces(sample["faces.npz"]) if "faces.npz" in sample else None
                made = do_tasks(clip, streams, faces)
                if isinstance(made, Faces):
                    buffer = io.BytesIO()
                    np.savez(buffer, **asdict(made))
                    sample["faces.npz"], made = buffer.getvalue(), {}
                with self.timed("encode"):
                    for name, frames in {**streams, **made}.items():
                        sample[f"{name}.mp4"] = self.encoded(clip, name, frames)
                with self.timed("tar"):
                    _write(tar, clip, sample)

    def encoded(self, clip: str, name: str, frames: np.ndarray) -> bytes:
        """A stream as the pipeline encodes it."""
        kind = "mask" if name == "mask" else "grey" if frames.ndim == 3 else "colour"
        with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
            encode(frames, self.rows[clip]["fps"], file.name, kind=kind)
            return Path(file.name).read_bytes()


def processor_seconds() -> float:
    """Time that this process and its children that ended spent on a processor."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def pipeline(out: Path) -> dict[str, Any]:
    """Curate and synthesise a planned output.

    Returns:
        `seconds` per operation, the pipeline's own timers made to count processor time; `curate` and `synthesise`, all
        that these stages took; `frames`.
    """
    output = Output(out)
    inputs = resume(output, RunOptions(), [], print)
    roots = read_roots(output)
    worker = WorkerSettings(out.absolute(), inputs.recipe, inputs.hash, inputs.styles, roots)()
    curated: Report = {}
    made: Report = {}
    started = processor_seconds()
    for task in curate_tasks(output, inputs.recipe, cut(output, inputs, None)).tasks:
        add_up(curated, worker(task))
    middle = processor_seconds()
    freeze(output, inputs, Engine("local"))
    tasks = synthesise_tasks(output, inputs.recipe).tasks
    frozen = processor_seconds()
    with mock.patch("time.perf_counter", processor_seconds):
        for task in tasks:
            add_up(made, worker(task))
    return {**made, "curate": middle - started, "synthesise": processor_seconds() - frozen}


def chain(out: Path) -> dict[str, Any]:
    """All stages over the clips of a finished output: seconds per operation."""
    output = Output(out)
    record = read_record(output)
    assert record is not None
    recipe = recorded_recipe(record)
    rows = {
        row["clip_id"]: row for row in Dataset(out).table.to_pylist() if row["swapper"] and row["stylist"]
    }
    for path in output.clips.glob("*.parquet"):
        for row in pq.read_table(path, columns=["clip_id", "source_frames"]).to_pylist():
            if row["clip_id"] in rows:
                rows[row["clip_id"]] |= row
    roots = read_roots(output)
    paths = {
        row["source"]: Path(os.fsdecode(absolute(roots, row["root"], row["path"])))
        for row in read_plan(output).to_pylist()
    }
    backends = Backends.load(recipe, load_styles(None, recipe))
    pool = backends.pool(next(output.donors.glob("*.parquet")), frozenset())
    do_tasks = Chain(rows, paths, recipe, backends, pool, Counter())
    driving = [f"driving_{name}" for name in COLOUR]
    stages = (
        ((), do_tasks.crop),
        (("video",), do_tasks.track),
        (("video",), do_tasks.swap),
        (("video", "swapped"), do_tasks.measure),
        (("video",), do_tasks.stylise),
        (("video", "styled"), do_tasks.measure),
        (COLOUR, do_tasks.augment),
        (driving, do_tasks.mask),
        (("video",), do_tasks.foreground),
    )
    with tempfile.TemporaryDirectory() as folder:
        before = None
        for number, (needs, step) in enumerate(stages):
            after = Path(folder, f"{number}.tar")
            do_tasks.run(before, after, needs, step)
            before = after
    return {"seconds": do_tasks.seconds, "frames": sum(row["frames"] for row in rows.values())}


def _read(path: Path) -> Iterator[tuple[str, Sample]]:
    with tarfile.open(path) as tar:
        clip, sample = "", {}
        for member in tar:
            name, _, suffix = member.name.partition(".")
            if name != clip and sample:
                yield clip, sample
                sample = {}
            content = tar.extractfile(member)
            assert content is not None
            clip, sample[suffix] = name, content.read()
        if sample:
            yield clip, sample


def _write(tar: tarfile.TarFile, clip: str, sample: Sample) -> None:
    for suffix, data in sample.items():
        info = tarfile.TarInfo(f"{clip}.{suffix}")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))


def _faces(data: bytes) -> Faces:
    return Faces(**np.load(io.BytesIO(data), allow_pickle=False))


if __name__ == "__main__":
    single_threaded()
    done = {"pipeline": pipeline, "chain": chain}[sys.argv[1]](Path(sys.argv[2]))
    print(json.dumps(done))
