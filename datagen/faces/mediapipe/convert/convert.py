"""Make the shipped face networks from a MediaPipe wheel.

`python -m datagen.faces.mediapipe.convert.convert WHEEL_OR_FOLDER OUT` writes one .onnx per model,
`models.json` (name, version, hashes, licence, source) and `face_mesh_triangles.npy`.
Each converted model is compared with the original in the TensorFlow Lite interpreter; a difference beyond rounding is
an error. Development only: `pip install 'megactor-datagen[convert]'`. The output is the same bytes every time.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import itertools
import json
import sys
import tempfile
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from datagen.common.errors import UserError
from datagen.common.extras import needs_extra
from datagen.faces.mediapipe.shipped import MANIFEST_NAME, TRIANGLES_NAME

VERSION = "mediapipe-0.10.21"
SOURCE = "https://pypi.org/project/mediapipe/0.10.21/"
LICENCE = "Apache-2.0"
TOLERANCE = 1e-4  # share of the largest output value: float32 rounding over dozens of layers

_MODULES = {
    "blazeface_short": "face_detection/face_detection_short_range.tflite",
    "blazeface_full": "face_detection/face_detection_full_range_sparse.tflite",
    "face_mesh": "face_landmark/face_landmark.tflite",
    "iris": "iris_landmark/iris_landmark.tflite",
    "selfie": "selfie_segmentation/selfie_segmentation.tflite",
}
_CONNECTIONS = "mediapipe/python/solutions/face_mesh_connections.py"


@dataclass(frozen=True)
class Difference:
    """Largest absolute error of a converted model, and largest output value of the original."""

    error: float
    magnitude: float

    @property
    def acceptable(self) -> bool:
        return self.error <= TOLERANCE * max(self.magnitude, 1.0)


def convert(source: Path, out: Path) -> dict[str, Difference]:
    """Convert every model of a MediaPipe wheel, or of its unpacked folder, into `out`.

    Returns:
        The measured difference per model.

    Raises:
        UserError: a development package or a model file is missing, or a conversion is not exact.
    """
    with needs_extra("convert", "the converter"):
        from datagen.faces.mediapipe.convert import tflite_to_onnx
    out.mkdir(parents=True, exist_ok=True)
    differences: dict[str, Difference] = {}
    entries: list[dict[str, str]] = []
    for name, module in _MODULES.items():
        path = f"mediapipe/modules/{module}"
        original = _read(source, path)
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "model.tflite"
            copy.write_bytes(original)
            converted = tflite_to_onnx.translate(copy).SerializeToString(deterministic=True)
            differences[name] = _compare(tflite_to_onnx.open_interpreter(copy), converted)
        if not differences[name].acceptable:
            raise UserError(f"{name}: the ONNX model differs from {path} by {differences[name].error:.3g}")
        (out / f"{name}.onnx").write_bytes(converted)
        entries.append(
            {
                "name": name,
                "version": VERSION,
                "file": f"{name}.onnx",
                "sha256": _sha256(converted),
                "licence": LICENCE,
                "source": SOURCE,
                "source_path": path,
                "source_sha256": _sha256(original),
            }
        )
    (out / MANIFEST_NAME).write_text(json.dumps(entries, indent=2) + "\n")
    np.save(out / TRIANGLES_NAME, read_triangles(_read(source, _CONNECTIONS).decode()), allow_pickle=False)
    return differences


def read_triangles(module: str) -> np.ndarray:
    """Triangles of the mesh, from the text of MediaPipe's `face_mesh_connections.py`, which lists only edges.

    A triangle is a 3-clique of edges that does not consist of smaller triangles. Together they must form a disc with
    three holes (eyes and mouth). All run clockwise on the screen for a frontal face; the orientation starts from the
    outline's edge from the top of the forehead (10) towards the person's left (338).

    Returns:
        int16 (852, 3), sorted.
    """
    edges = {frozenset(edge) for edge in _literal_set(module, "FACEMESH_TESSELATION")}
    neighbours: dict[int, set[int]] = {}
    for a, b in edges:
        neighbours.setdefault(a, set()).add(b)
        neighbours.setdefault(b, set()).add(a)
    cliques = {frozenset((a, b, c)) for a, b in edges for c in neighbours[a] & neighbours[b]}
    uses = Counter(edge for clique in cliques for edge in _edges(clique))
    triangles = {clique for clique in cliques if any(uses[edge] < 3 for edge in _edges(clique))}
    holes = 3
    if len(neighbours) - len(edges) + len(triangles) != 1 - holes:
        raise UserError("face_mesh_connections.py does not describe a face with eye and mouth openings")
    return np.array(sorted(_oriented(triangles, (10, 338))), np.int16)


def _oriented(triangles: set[frozenset[int]], first: tuple[int, int]) -> list[tuple[int, int, int]]:
    """Triangles with the same orientation, found by walking over shared edges from `first`, a directed outline edge."""
    by_edge: dict[frozenset[int], list[frozenset[int]]] = {}
    for triangle in triangles:
        for edge in _edges(triangle):
            by_edge.setdefault(edge, []).append(triangle)
    done: dict[frozenset[int], tuple[int, int, int]] = {}
    queue = [first]
    while queue:
        a, b = queue.pop()
        for triangle in by_edge[frozenset((a, b))]:
            if triangle in done:
                continue
            (c,) = triangle - {a, b}
            done[triangle] = _smallest_first(a, b, c)
            queue += [(b, a), (c, b), (a, c)]  # neighbours have a shared edge in the opposite direction
    return list(done.values())


def _smallest_first(a: int, b: int, c: int) -> tuple[int, int, int]:
    return min((a, b, c), (b, c, a), (c, a, b))


def _edges(triangle: frozenset[int]) -> list[frozenset[int]]:
    return [frozenset(pair) for pair in itertools.combinations(triangle, 2)]


def _literal_set(module: str, name: str) -> list[tuple[int, int]]:
    """The literal in `NAME = frozenset([...])`, read without running the module."""
    for statement in ast.parse(module).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call):
            target = statement.targets[0]
            if isinstance(target, ast.Name) and target.id == name:
                return ast.literal_eval(statement.value.args[0])
    raise UserError(f"face_mesh_connections.py has no {name}")


def _read(source: Path, path: str) -> bytes:
    try:
        if source.is_dir():
            return (source / path).read_bytes()
        with zipfile.ZipFile(source) as wheel:
            return wheel.read(path)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(
            f"cannot read {path} from {source}: is it a MediaPipe 0.10.21 wheel? ({error})"
        ) from error


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _compare(interpreter: Any, converted: bytes) -> Difference:
    """Run both models on noise of several cell sizes; coarse noise has large structures, as images have."""
    session = onnxruntime.InferenceSession(converted, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    (feed,) = interpreter.get_input_details()
    _, height, width, channels = feed["shape"]
    random = np.random.default_rng(0)
    error = magnitude = 0.0
    for cell in (1, 4, 16):
        noise = random.uniform(-1, 1, (1, height // cell, width // cell, channels)).astype(np.float32)
        image = noise.repeat(cell, axis=1).repeat(cell, axis=2)
        interpreter.set_tensor(feed["index"], image)
        interpreter.invoke()
        results = dict(zip(names, session.run(None, {"input": image}), strict=True))
        for output in interpreter.get_output_details():
            expected = interpreter.get_tensor(output["index"])
            error = max(error, float(np.abs(results[output["name"]] - expected).max()))
            magnitude = max(magnitude, float(np.abs(expected).max()))
    return Difference(error, magnitude)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m datagen.faces.mediapipe.convert.convert", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "source", type=Path, metavar="WHEEL_OR_FOLDER", help="mediapipe 0.10.21 wheel, or unpacked"
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write to")
    options = parser.parse_args(arguments)
    try:
        differences = convert(options.source, options.out)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.code
    for name, difference in differences.items():
        print(f"{name}: max error {difference.error:.2g} of {difference.magnitude:.3g}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
