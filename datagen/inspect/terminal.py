"""Data sets as text for a terminal; values are escaped, so that no name can contain control sequences."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from datagen.common.text import plain, plain_json

Row = Mapping[str, Any]


def as_json(value: Any) -> str:
    """Indented JSON."""
    return plain_json(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def json_line(row: Row) -> str:
    """JSON on one line."""
    return plain_json(json.dumps(row, ensure_ascii=False, default=str))


def table(rows: Sequence[Row]) -> str:
    """Rows as an aligned table, one column per key of the first."""
    shown = Table(box=None, pad_edge=False)
    for name in rows[0]:
        shown.add_column(plain(name, keep=""), overflow="fold")
    for row in rows:
        shown.add_row(*(_cell(value) for value in row.values()))
    return _render(shown)


def summary(found: Row) -> str:
    """Counts and medians of a data set."""
    shown = Table(box=None, show_header=False, pad_edge=False)
    for name, value in found.items():
        if isinstance(value, Mapping):
            text = ", ".join(f"{_cell(key)} {_cell(item)}" for key, item in value.items()) or "none"
        else:
            text = f"{value:,}" if isinstance(value, int) else _cell(value)
        shown.add_row(_cell(name), text)
    return _render(shown)


def details(found: Row) -> str:
    """Everything about one clip."""
    shown = Table(box=None, show_header=False, pad_edge=False)
    for name, value in found.items():
        shown.add_row(_cell(name), _cell(value))
    return _render(shown)


def failures(rows: Sequence[Row]) -> str:
    """Failure rows: what is left out, the reason, and what the user can do."""
    if not rows:
        return "nothing was left out"
    lines = []
    for row in rows:
        what = row["clip_id"] or row["source"]
        stream = f" ({row['stream']} stream only)" if row["stream"] else ""
        hint = f"; {row['hint']}" if row["hint"] else ""
        lines.append({"left out": what + stream, "reason": row["reason"], "why": f"{row['message']}{hint}"})
    return table(lines)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{_cell(key)} {_cell(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(_cell(item) for item in value)
    return "-" if value is None else plain(str(value), keep="")


def _render(shown: Table) -> str:
    written = io.StringIO()
    Console(file=written, width=160, markup=False, highlight=False).print(shown)
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines())
