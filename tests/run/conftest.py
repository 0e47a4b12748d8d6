"""A small set of made talking heads and bad files, and one finished reference run over it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from . import people

ROOT = Path(__file__).parents[2]
RECIPE = """
seed: 7
plan: {sources_per_part: 2, clips_per_unit: 2}
curate: {size: 128, min_frames: 20, max_frames: 24, max_upscale: 3}
donors: {min_distance: 0.4}
split: {val: 0.0, test: 0.0}
"""


def command(*arguments, check=True, **options):
    """Run `megactor-datagen` in a process of its own, with no ffmpeg of the system in reach."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **options.pop("env", {})}
    environment.setdefault("RAY_worker_niceness", "0")  # tests must not starve beside other work
    done = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), *map(str, arguments)],
        capture_output=True, text=True, env=environment, timeout=500, **options,
    )  # fmt: skip
    if check and done.returncode != 0:
        raise AssertionError(f"exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def published(out: Path) -> dict[str, str]:
    """Relative path -> sha256 of everything that must not differ between runs."""
    found = {}
    for folder in ("shards", "index", "clips", "failures", "plan/donors", "plan/waves"):
        for path in sorted((out / folder).glob("*")):
            if path.is_file():
                found[f"{folder}/{path.name}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@pytest.fixture(scope="session")
def footage(tmp_path_factory):
    """Four heads of two people, and four files that must fail alone."""
    from datagen.bundled.demo_set import portraits
    from datagen.bundled.talking_head import talking_head
    from datagen.faces import FaceAnalyser
    from datagen.media import encode

    folder = tmp_path_factory.mktemp("footage")
    analyser = FaceAnalyser()
    people = {portrait.name: portrait.image for portrait in portraits()}
    for number, (name, image) in enumerate([*people.items()][:2] * 2):
        landmarks, _ = analyser.landmarks(image, analyser.detect(image)[0])
        frames, _ = talking_head(image, landmarks, 24, 25.0, number)
        target = folder / f"{number}-{Path(name).stem}.mp4"
        encode((frame[::2, ::2] for frame in frames), 25.0, target, crf=12)
    (folder / "corrupt.mp4").write_bytes((folder / target.name).read_bytes()[:900])
    (folder / "text.mp4").write_text("this is no video\n" * 50)
    (folder / "zero.mp4").write_bytes(b"")
    rng = __import__("numpy").random.default_rng(0)
    noise = (rng.integers(0, 256, (128, 128, 3), "uint8") for _ in range(30))
    encode(noise, 25.0, folder / "no face.mp4")
    return folder


@pytest.fixture(scope="session")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="session")
def reference(footage, recipe, tmp_path_factory):
    """An uninterrupted local run."""
    out = tmp_path_factory.mktemp("reference") / "out"
    done = command("run", "--input", footage, "--recipe", recipe, "--output", out, "--runner", "local")
    return out, done


@pytest.fixture
def here(monkeypatch):
    """Commands that `people.call` says do their work in this process."""
    people.in_this_process(monkeypatch)


@pytest.fixture(scope="session")
def crowd(tmp_path_factory):
    """Videos of four people, and one that is cut short."""
    return people.make_set(tmp_path_factory.mktemp("crowd"))


@pytest.fixture(scope="session")
def made(crowd):
    """A finished output with everything: faces are lent within two splits, one clip has its style from a portrait."""
    return _finished(crowd, "recipe.yaml")


@pytest.fixture(scope="session")
def plain(crowd):
    """A finished output of clips alone."""
    return _finished(crowd, "plain.yaml")


def _finished(crowd, recipe):
    out = crowd.folder / "out" / recipe
    with pytest.MonkeyPatch.context() as patch:
        people.in_this_process(patch)
        people.call("run", *crowd.words(recipe), "--output", out)
    return out
