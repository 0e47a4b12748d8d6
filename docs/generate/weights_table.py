"""Write the table of `docs/weights.md` from the registry of weights: `python -m docs.generate.weights_table`."""

from __future__ import annotations

import sys
from pathlib import Path

from datagen.weights.listing import markdown

PAGE = Path(__file__).resolve().parents[1] / "weights.md"


def page(text: str) -> str:
    """The page with a new table in place of the old one, which ends at the first blank line after its header."""
    table = markdown()
    before, header, after = text.partition(table.partition("\n")[0])
    if not header:
        raise ValueError("docs/weights.md: the header of the table was not found")
    rest = after.partition("\n\n")[2]
    return f"{before}{table}\n\n{rest}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE}\n")
