"""The list of weights, and its page."""

from __future__ import annotations

from datagen.weights.listing import markdown
from tests.support import ROOT


def test_documentation_holds_the_registry() -> None:
    page = (ROOT / "docs" / "weights.md").read_text(encoding="utf-8")
    assert markdown() in page, "run: python -m docs.generate.weights_table"
