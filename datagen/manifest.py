"""Dataset manifests: where a public data set lies, its terms, and sensible curation."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

import manifests
from datagen.config import Frozen, parse, read_yaml
from datagen.errors import UserError

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts"),
    *(".mts", ".m2ts", ".flv", ".wmv", ".3gp", ".ogv", ".ogg", ".gif"),
)


class Manifest(Frozen):
    """One data set.

    Relative `root`s are taken from the manifest's folder; `$NAME` is replaced from the environment.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$", description="name of the data set, in every row")
    title: str = ""
    homepage: str = ""
    root: str | None = Field(None, description="folder, archive or video file")
    generate: Literal["demo"] | None = Field(None, description="footage made by code instead of a root")
    include: tuple[str, ...] = Field(
        ("**/*",), description="patterns of files under the root that are sources"
    )
    subject: str | None = Field(
        None, description="regular expression with a group `subject`, searched in the path"
    )
    licence: str | None = Field(None, description="licence of the footage")
    consent: str | None = Field(None, description="what the filmed people agreed to")
    face_swap: Literal["allowed", "forbidden", "unstated"] = Field(
        "unstated", description="whether the terms let faces be swapped"
    )
    recipe: dict[str, Any] = Field(default_factory=dict, description="recipe values that suit this data set")

    @field_validator("subject")
    @classmethod
    def _has_group(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                groups = re.compile(value).groupindex
            except re.error as error:
                raise ValueError(f"not a regular expression ({error})") from error
            if "subject" not in groups:
                raise ValueError("has no group named subject; write (?P<subject>...)")
        return value

    def check_terms(self, accepted: list[str]) -> None:
        """Refuse footage whose terms are missing or forbid the use, unless accepted by name.

        Raises:
            UserError: says which term is missing and how to go on.
        """
        if self.name in accepted:
            return
        missing = [field for field in ("licence", "consent") if not getattr(self, field)]
        if missing:
            problem = f"states no {' and no '.join(missing)}"
        elif self.face_swap == "forbidden":
            problem = "forbids face swapping"
        else:
            return
        raise UserError(
            f"data set {self.name!r} {problem}; if you have the right to use it so, say --accept-terms {self.name}"
        )


def load_manifest(name_or_path: str) -> tuple[Manifest, Path]:
    """Manifest and the folder its relative paths start from; bundled names first, then files."""
    known = manifests.bundled()
    path = known.get(name_or_path) or Path(name_or_path)
    if not path.is_file():
        near = difflib.get_close_matches(name_or_path, known, n=1)
        advice = f"did you mean {near[0]!r}?" if near else f"bundled ones: {', '.join(known)}"
        raise UserError(f"no manifest {name_or_path!r}: neither a bundled name nor a file; {advice}", code=2)
    manifest = parse(Manifest, read_yaml(path), str(path))
    if (manifest.root is None) == (manifest.generate is None):
        raise UserError(f"{path}: give either root (where the footage lies) or generate", code=2)
    return manifest, path.parent


def input_manifest() -> Manifest:
    """Terms of `--input` paths: nobody stated any, and every row says so."""
    return Manifest(name="input", root=".", licence="unstated", consent="unstated")


def root_of(manifest: Manifest, folder: Path) -> Path:
    """Absolute root of a manifest.

    Raises:
        UserError: an environment variable is unset or the folder does not exist.
    """
    text = os.path.expandvars(manifest.root or "")
    if "$" in text:
        raise UserError(
            f"manifest {manifest.name!r}: root {manifest.root!r} names an unset variable; export it"
        )
    root = (folder / Path(text).expanduser()).absolute()
    if not root.exists():
        raise UserError(
            f"manifest {manifest.name!r}: {root} does not exist; put the data set there or give --root"
        )
    return root
