"""What tests of several folders share; each is made once, when the first test asks for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib.cbook
import numpy as np
import pytest
import skimage.data

from datagen.donors.donor import Donor, check_portrait
from datagen.faces import FaceAnalyser, Faces
from datagen.media import bundled_ffmpeg
from datagen.output.paths import Output
from tests.end_to_end import people
from tests.reference_run import ReferenceRun
from tests.runners.clock import Clock
from tests.shards.made import write_unit

SIDE = 320


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """OpenCV in one thread, as in the program's workers."""
    cv2.setNumThreads(1)


@pytest.fixture(scope="session")
def analyser() -> FaceAnalyser:
    """Loads its networks once for the whole session."""
    return FaceAnalyser()


@pytest.fixture
def output(tmp_path: Path) -> Output:
    """An empty output."""
    made = Output(tmp_path / "out")
    made.create()
    return made


@pytest.fixture
def dataset(output: Output) -> Output:
    """Three units of 3, 2 and no clips, whose streams are not videos; one clip failed."""
    write_unit(output, "p00000-u00", clips=3)
    write_unit(output, "p00000-u01", clips=2, failures=1)
    write_unit(output, "p00000-u02", clips=0)
    return output


@pytest.fixture
def dying_ffmpeg(tmp_path: Path) -> Callable[..., str]:
    """Makes an ffmpeg that only runs a shell line in its first `times` calls, and works normally afterwards."""

    def make(ending: str, times: int = 1000) -> str:
        path = tmp_path / "dying ffmpeg"
        lines = (
            "#!/bin/sh",
            f'real="{bundled_ffmpeg()}"',
            'echo >> "$0.calls"',
            f'if [ $(wc -l < "$0.calls") -gt {times} ]; then exec "$real" "$@"; fi',
            ending.replace("FFMPEG", '"$real" "$@"'),
        )
        path.write_text("\n".join(lines) + "\n")
        path.chmod(0o755)
        return str(path)

    return make


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stands in for `time.monotonic`."""
    return Clock(monkeypatch)


# a short clip with known motion, and a donor


@dataclass(frozen=True)
class Clip:
    """Frames (F, H, W, 3) and the face in them."""

    frames: np.ndarray
    faces: Faces


@pytest.fixture(scope="session")
def hopper() -> np.ndarray:
    """A portrait from matplotlib's sample data."""
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        data = np.frombuffer(file.read(), np.uint8)
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


@pytest.fixture(scope="session")
def donor(hopper: np.ndarray, analyser: FaceAnalyser) -> Donor:
    """The donor made of that portrait."""
    return check_portrait(hopper, analyser, name="hopper")


@pytest.fixture(scope="session")
def clip(analyser: FaceAnalyser) -> Clip:
    """Eight frames of scikit-image's astronaut: a face 180 px wide that sways by a few pixels and degrees."""
    matrix = np.array([[1.8, 0, 160 - 1.8 * 224], [0, 1.8, 165 - 1.8 * 120]])
    still = cv2.warpAffine(skimage.data.astronaut(), matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT)
    frames = []
    for index in range(8):
        sway = np.sin(index / 2)
        matrix = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), 5 * sway, 1)
        matrix[:, 2] += 4 * sway, 2 * sway
        frames.append(cv2.warpAffine(still, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT))
    stacked = np.stack(frames)
    return Clip(stacked, analyser.track(stacked))


# whole runs: copy an output before you change it


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> ReferenceRun:
    """A finished run over four heads of two people and four bad files, made in a process of its own."""
    return ReferenceRun.make(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that `people.call` runs do their work in this process, without a child."""
    people.run_in_this_process(monkeypatch)


@pytest.fixture(scope="session")
def people_set(tmp_path_factory: pytest.TempPathFactory) -> people.PeopleSet:
    """Videos of four people, and one that is cut short."""
    return people.make_set(tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="session")
def full_output(people_set: people.PeopleSet) -> Path:
    """A finished output with every stream: faces are lent within two splits, one clip has its style from a portrait."""
    return _finished(people_set, "recipe.yaml")


@pytest.fixture(scope="session")
def plain_output(people_set: people.PeopleSet) -> Path:
    """A finished output of clips alone, without swap and style."""
    return _finished(people_set, "plain.yaml")


def _finished(people_set: people.PeopleSet, recipe: str) -> Path:
    out = people_set.folder / "out" / recipe
    with pytest.MonkeyPatch.context() as patch:
        people.run_in_this_process(patch)
        people.call("run", *people_set.words(recipe), "--output", out)
    return out
