"""Terms of footage: the `terms:` block of a manifest, and the strictest of several terms."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Literal

from pydantic import Field

from datagen.common.config import FrozenConfig

UNSTATED = "unstated"
Derivatives = Literal["allowed", "private", "forbidden", "unstated"]
Sharing = Literal["allowed", "same-licence", "forbidden", "unstated"]
SHARING: tuple[Sharing, ...] = ("allowed", "same-licence", "unstated", "forbidden")
"""Values of the column `sharing`, from least to most strict."""

_SHARING_OF: dict[Derivatives, Sharing] = {
    "allowed": "allowed",
    "private": "forbidden",
    "forbidden": "forbidden",
    "unstated": "unstated",
}


class Terms(FrozenConfig):
    """Terms of a data set as its authors state them; never taken from the licence tag of a hub."""

    licence: str | None = Field(default=None, description="licence of the footage, its name verbatim")
    consent: str | None = Field(default=None, description="what the filmed people agreed to")
    covers: Literal["footage", "annotations"] = Field(
        default="footage",
        description="what the licence is about; `annotations` leaves the terms of the footage unstated",
    )
    use: Literal["any", "non-commercial", "research"] | None = Field(
        default=None, description="who may use it"
    )
    derivatives: Derivatives = Field(
        default="unstated",
        description="whether faces may be swapped and restyled; `private`: made, but not passed on",
    )
    sharing: Sharing = Field(default="unstated", description="whether derived clips may be passed on")
    credit: str | None = Field(
        default=None,
        description="whom to name; `{source}` and the named groups of `subject` and `group` are filled in",
    )
    agreement: str | None = Field(default=None, description="text or address of what a user signs")
    obtain: str | None = Field(default=None, description="how to get the data set")
    checked: date | None = Field(default=None, description="day these terms were read, such as 2026-11-24")

    @property
    def for_footage(self) -> tuple[Derivatives, Sharing]:
        """`derivatives` and `sharing` of derived clips; the stricter value decides."""
        derivatives: Derivatives = "unstated" if self.covers == "annotations" else self.derivatives
        stated: Sharing = "unstated" if self.covers == "annotations" else self.sharing
        return derivatives, strictest_sharing((stated, _SHARING_OF[derivatives]))

    def problem(self) -> str | None:
        """Why the user must accept the terms by name; None if the terms allow the use."""
        missing = [field for field in ("licence", "consent") if not (getattr(self, field) or "").strip()]
        if missing:
            return f"states no {' and no '.join(missing)}"
        derivatives, _ = self.for_footage
        if derivatives == "forbidden":
            return "forbids derived faces (swapping, restyling)"
        if derivatives == "unstated" and self.covers == "annotations":
            return "states terms of its annotations, not of the footage"
        if derivatives == "unstated":
            return "does not state whether faces may be swapped (terms.derivatives)"
        return None


def strictest_sharing(values: Iterable[str | None]) -> Sharing:
    """The strictest `sharing` of some clips, which holds for a set of them.

    No values, null and unknown words count as `unstated`.
    """
    ranks = [SHARING.index(value) if value in SHARING else SHARING.index("unstated") for value in values]
    return SHARING[max(ranks)] if ranks else "unstated"
