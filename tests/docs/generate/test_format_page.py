"""The page on the format agrees with the schema."""

from __future__ import annotations

from docs.generate.format_page import PAGE, page


def test_the_format_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m docs.generate.format_page"
