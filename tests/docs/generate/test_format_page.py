"""The reference page says what the schema says."""

from __future__ import annotations

from docs.generate.format_page import PAGE, page


def test_the_format_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m docs.generate.format_page"
