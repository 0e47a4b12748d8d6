"""`run.json` records the inputs of an output, so that a rerun continues with the same ones or says what changed."""

from __future__ import annotations

import json
import platform
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from datagen.common.config import parse
from datagen.common.errors import UserError
from datagen.common.hashing import file_sha256
from datagen.common.version import __version__
from datagen.media import X264, bundled_ffmpeg, ffmpeg_version
from datagen.output.paths import Output
from datagen.output.publish import write_bytes
from datagen.recipe import Recipe, recipe_hash
from datagen.runners import Fingerprint

PACKAGES = (
    *("numpy", "opencv-python", "onnxruntime", "decord", "pyarrow", "dlib-bin", "imageio-ffmpeg"),
    *("ray", "torch", "diffusers", "insightface"),
)
OF_EXTRAS = ("torch", "diffusers", "insightface")
"""Not in the base install. No built-in backend uses them, so a node without them may work; it is warned of."""


def _is_texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


_PICTURE = re.compile(r"(donor|style) [0-9a-f]{16}")
_VERBS = {
    ("added", False): "was",
    ("added", True): "were",
    ("missing", False): "is",
    ("missing", True): "are",
}

_CHECKS: dict[str, Callable[[object], bool]] = {
    "recipe": lambda value: isinstance(value, dict),
    "recipe_hash": lambda value: isinstance(value, str),
    "contents": _is_texts,
    "donors": lambda value: isinstance(value, str | None),
    "styles": lambda value: isinstance(value, str | None),
    "software": _is_texts,
    "fingerprint": _is_texts,
}
"""Checks of the values of `run.json`."""


@dataclass(frozen=True)
class RunInputs:
    """Inputs of a run besides the footage.

    Attributes:
        contents: name -> sha256 of every model, donor and style that the recipe hash covers.
        donors, styles: folders that the user gave.
    """

    recipe: Recipe
    contents: dict[str, str]
    donors: Path | None
    styles: Path | None

    @property
    def hash(self) -> str:
        """The recipe hash, which is in every row."""
        return recipe_hash(self.recipe, self.contents)


def describe(inputs: RunInputs) -> dict[str, Any]:
    """Contents of `run.json`."""
    return {
        "recipe": inputs.recipe.model_dump(mode="json"),
        "recipe_hash": inputs.hash,
        "contents": inputs.contents,
        "donors": None if inputs.donors is None else str(inputs.donors),
        "styles": None if inputs.styles is None else str(inputs.styles),
        "software": _versions(),
        "fingerprint": _codec(inputs.recipe.encode.ffmpeg) | _processor(),
    }


def read_record(out: Output) -> dict[str, Any] | None:
    """`run.json` of an output, or None if nothing was planned yet.

    Raises:
        UserError: the file is damaged.
    """
    try:
        record = json.loads(out.run_json.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(f"{out.run_json} is damaged ({error}); restore it or use a new --output") from error
    if not isinstance(record, dict) or (
        wrong := [key for key, check in _CHECKS.items() if not check(record.get(key))]
    ):
        what = f": {wrong[0]} is missing or wrong" if isinstance(record, dict) else ""
        raise UserError(f"{out.run_json} is damaged{what}; restore it or use a new --output")
    return record


def recorded_recipe(record: dict[str, Any]) -> Recipe:
    """The recipe of an output."""
    return parse(Recipe, record["recipe"], "run.json")


def start(out: Output, inputs: RunInputs) -> list[str]:
    """Write `run.json`, or check that the output was made with the same inputs.

    Returns:
        Warnings if software or processor differ from those of the first run, since bytes may differ then.

    Raises:
        UserError: the recipe, a model, the donors or the styles changed; the message says which.
    """
    new = describe(inputs)
    old = read_record(out)
    if old is None:
        write_bytes((json.dumps(new, indent=2, sort_keys=True) + "\n").encode(), out.run_json, out.tmp)
        old = read_record(out) or new  # another driver may have written it first
    if old["recipe_hash"] != new["recipe_hash"]:
        changes = [
            *_differences(_hashed(old["recipe"]), _hashed(new["recipe"])),
            *_content_changes(old["contents"], new["contents"]),
        ]
        raise UserError(
            f"{out.root} was started with another recipe: {'; '.join(changes) or 'the hash differs'}. "
            "Use the same options again, or a new --output",
            code=2,
        )
    return [
        f"{key} was {before} when this output was started and is {after} now; bytes of new clips may differ"
        for section in ("software", "fingerprint")
        for key, before, after in _pairs(old.get(section, {}), new[section])
        if before != after
    ]


def fingerprint(ffmpeg: str | None) -> Fingerprint:
    """Software and processor of this machine, as far as they change bytes of the output.

    Args:
        ffmpeg: path from the recipe; None for the bundled one.
    """
    versions = _versions()
    of_extras = {name: versions.pop(name) for name in OF_EXTRAS if name in versions}
    return Fingerprint(must=versions | _codec(ffmpeg), may=of_extras | _processor())


def expected_fingerprint(out: Output, inputs: RunInputs) -> Fingerprint:
    """The fingerprint that every node working on an output must have.

    Software and codec must be those of the driver; if they differ from `run.json`, `start` has warned. The processor is
    compared with that of the first run.
    """
    own = fingerprint(inputs.recipe.encode.ffmpeg)
    began = (read_record(out) or {}).get("fingerprint", {})
    return Fingerprint(own.must, {key: began.get(key, value) for key, value in own.may.items()})


def _versions() -> dict[str, str]:
    found = {"megactor-datagen": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _codec(ffmpeg: str | None) -> dict[str, str]:
    """Binary and settings of the encoder."""
    return {
        "ffmpeg": ffmpeg_version(ffmpeg),
        "x264": X264,
        "ffmpeg_sha256": file_sha256(Path(ffmpeg or bundled_ffmpeg())),
    }


def _processor() -> dict[str, str]:
    """Machine type and instruction sets, which can change the last bits of results."""
    flags = ""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        flags = next((line.partition(":")[2] for line in lines if line.startswith("flags")), "")
    except OSError:
        pass  # not Linux: only the machine type is known
    relevant = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_vnni")
    features = " ".join(name for name in relevant if name in flags.split())
    return {"machine": platform.machine(), "cpu_features": features}


def _hashed(recipe: dict[str, Any]) -> dict[str, Any]:
    """The recorded recipe without values that may change; see `Recipe.canonical`."""
    return {key: value for key, value in recipe.items() if key != "limits"}


def _differences(old: Any, new: Any, path: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            line
            for key in sorted({*old, *new})
            for line in _differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
        ]
    return [] if old == new else [f"{path} was {json.dumps(old)}, now {json.dumps(new)}"]


def _content_changes(old: dict[str, str], new: dict[str, str]) -> list[str]:
    lines = []
    pictures: Counter[tuple[str, str]] = Counter()
    for key, before, after in _pairs(old, new):
        if before != after and _PICTURE.fullmatch(key):  # named by hash, so only their number is reported
            pictures[key.partition(" ")[0], "added" if before is None else "missing"] += 1
        elif before != after:
            what = "was added" if before is None else "is missing" if after is None else "has other contents"
            lines.append(f"{key} {what}")
    for (kind, what), count in pictures.items():
        lines.append(f"{count} {kind}{'s' if count > 1 else ''} {_VERBS[what, count > 1]} {what}")
    lines.sort(key=lambda line: not line.endswith("added"))  # additions come first
    return lines if len(lines) <= 5 else [*lines[:5], f"and {len(lines) - 5} more"]


def _pairs(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    return [(key, old.get(key), new.get(key)) for key in sorted({*old, *new})]


def require_plan(out: Output) -> None:
    """Raise a `UserError` if nothing was planned."""
    if read_record(out) is None:
        raise UserError(f"{out.root} holds no data set; start with `megactor-datagen run` or `plan`", code=2)
