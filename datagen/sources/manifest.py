"""Dataset manifests: where a public data set lies, its terms, and sensible curation."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

import manifests
from datagen.common.config import FrozenConfig, parse, read_yaml
from datagen.common.errors import UserError
from datagen.sources.terms import UNSTATED, Sharing, Terms

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".qt", ".mkv", ".mk3d", ".webm", ".avi", ".divx", ".nut", ".ivf"),
    *(".mpg", ".mpeg", ".mpe", ".mpv", ".m1v", ".m2v", ".vob", ".ts", ".mts", ".m2ts", ".m2t"),
    *(".mxf", ".dv", ".flv", ".f4v", ".wmv", ".asf", ".3gp", ".3g2", ".ogv", ".ogg", ".ogm"),
    *(".rm", ".rmvb", ".gif"),
)
"""Endings of files that are listed as videos; `datagen.media.ffmpeg.CONTAINERS` has their demuxers."""

_FIELD = re.compile(r"\{([^{}]*)\}")


class Manifest(FrozenConfig):
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
    group: str | None = Field(
        None,
        description="regular expression with a group `group`, searched in the path: what must share a split",
    )
    terms: Terms | None = Field(None, description="what the footage may be used for")
    licence: str | None = Field(None, description="short for terms.licence")
    consent: str | None = Field(None, description="short for terms.consent")
    face_swap: Literal["allowed", "forbidden", "unstated"] | None = Field(
        None, description="short for terms.derivatives"
    )
    recipe: dict[str, Any] = Field(default_factory=dict, description="recipe values that suit this data set")

    @field_validator("subject", "group")
    @classmethod
    def _has_group(cls, value: str | None, info: Any) -> str | None:
        if value is not None:
            try:
                groups = re.compile(value).groupindex
            except (re.error, RecursionError, OverflowError) as error:
                raise ValueError(f"not a regular expression ({error})") from error
            if info.field_name not in groups:
                raise ValueError(f"has no group named {info.field_name}; write (?P<{info.field_name}>...)")
        return value

    @model_validator(mode="after")
    def _terms_agree(self) -> Manifest:
        twice = [key for key in ("licence", "consent", "face_swap") if getattr(self, key) is not None]
        if self.terms is not None and twice:
            raise ValueError(f"{' and '.join(twice)} beside terms; move it into terms")
        names = {"source"}
        for pattern in (self.subject, self.group):
            names.update(re.compile(pattern).groupindex if pattern else ())
        unknown = [name for name in _FIELD.findall(self.stated.credit or "") if name not in names]
        if unknown:
            raise ValueError(
                f"terms.credit names {{{unknown[0]}}}, which is not known; use {', '.join(sorted(names))}"
            )
        return self

    @property
    def stated(self) -> Terms:
        """The terms, from `terms` or the short keys."""
        if self.terms is not None:
            return self.terms
        return Terms(licence=self.licence, consent=self.consent, derivatives=self.face_swap or "unstated")

    def check_terms(self, accepted: list[str]) -> None:
        """Refuse footage whose terms are missing or forbid the use, unless accepted by name.

        Raises:
            UserError: says which term is missing and how to go on.
        """
        problem = self.stated.problem()
        if problem is None or self.name in accepted:
            return
        read = f" (its agreement: {self.stated.agreement})" if self.stated.agreement else ""
        raise UserError(
            f"data set {self.name!r} {problem}{read}; "
            f"if you have the right to use it so, say --accept-terms {self.name}"
        )

    def rights(self) -> tuple[str, str, Sharing]:
        """`licence`, `consent` and `sharing` of every row, `unstated` where nobody says."""
        stated = self.stated
        licence = (stated.licence or "").strip() if stated.covers == "footage" else ""
        return licence or UNSTATED, (stated.consent or "").strip() or UNSTATED, stated.for_footage[1]

    def credit_of(self, source: str) -> str | None:
        """Whom to name for a source (its path as listed); a field its path does not fill reads `unknown`."""
        credit = self.stated.credit
        if not credit:
            return None
        values: dict[str, str | None] = {"source": source}
        for pattern in (self.subject, self.group):
            match = re.search(pattern, source) if pattern else None
            values.update(match.groupdict() if match else {})
        return _FIELD.sub(lambda field: values.get(field.group(1)) or "unknown", credit)


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
    return Manifest(name="input", root=".")


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
