"""Roots of the sources: the plan names each root, `plan/roots.json` holds its current folder.

Paths in the plan are relative to their root, so footage may move or be mounted elsewhere between two runs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from datagen.common.errors import UserError
from datagen.output.paths import Output
from datagen.output.publish import replace
from datagen.sources.source import Listing

INPUT = "input"
"""Dataset name of footage that `--input` gives; its roots are named after their folders."""

Roots = dict[str, Path]


def read_roots(out: Output) -> Roots:
    """Name of each root -> absolute folder, in the order they were added.

    Raises:
        UserError: the file is damaged.
    """
    try:
        held = json.loads(out.roots_json.read_text(encoding="utf-8"))
        return {item["name"]: Path(item["path"]) for item in held}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{out.roots_json} is damaged; delete it and run with --input or --root again"
        ) from error


def write_roots(out: Output, roots: Roots) -> None:
    """Save the current folders of the roots."""
    held = [{"name": name, "path": str(path)} for name, path in roots.items()]
    replace((json.dumps(held, indent=1) + "\n").encode(), out.roots_json, out.tmp)


def prefix_of(roots: Roots, name: str) -> str:
    """Prefix of the paths of a root in `source`; empty for the first root of an output."""
    return "" if next(iter(roots), name) == name else f"{name}//"


def absolute(roots: Roots, root: str, path: bytes) -> bytes:
    """Current path of a planned file.

    Raises:
        UserError: the folder of the root is not known.
    """
    if root not in roots:
        raise UserError(f"the folder of root {root!r} is not known; give it with --root {root}=FOLDER")
    return os.path.join(os.fsencode(roots[root]), path)


def name_root(
    roots: Roots, dataset: str, base: Path, listing: Listing, plan: pa.Table
) -> tuple[Roots, str, bool]:
    """Find the name of a root that a command gave, or choose a new one.

    The root of a manifest has the manifest's name, whatever its folder is. An unknown folder of `--input` is treated
    as a known root that has moved, if the known folder no longer exists and at least half of its planned files are
    here with the same sizes. Otherwise it is a new root.

    Returns:
        All roots, the name of this one, and whether it has moved.
    """
    base = base.absolute()
    if dataset != INPUT:
        moved = dataset in roots and roots[dataset] != base
        return {**roots, dataset: base}, dataset, moved
    for name, path in roots.items():
        if path == base:
            return roots, name, False
    found = {(source.path, source.member): source.size for source in listing.sources}
    for name, path in roots.items():
        if not path.exists() and _holds_planned(plan.filter(pc.field("root") == name), found):
            return {**roots, name: base}, name, True
    stem = base.name or INPUT
    name = next(name for name in (stem, *(f"{stem}-{n}" for n in range(2, 10_000))) if name not in roots)
    return {**roots, name: base}, name, False


def move(roots: Roots, assignments: Sequence[str]) -> Roots:
    """Apply `--root NAME=FOLDER`, or `--root FOLDER` if there is only one root.

    Raises:
        UserError: an unknown name, or a folder without a name although there are several roots.
    """
    moved = dict(roots)
    for text in assignments:
        name, equals, folder = text.partition("=")
        if name not in roots or not equals:
            name, folder = (next(iter(roots)), text) if len(roots) == 1 else ("", text)
        if not name:
            known = ", ".join(roots)
            raise UserError(f"--root {text}: write NAME=FOLDER with one of the roots {known}", code=2)
        moved[name] = Path(folder).absolute()
    return moved


def _holds_planned(planned: pa.Table, found: dict[tuple[bytes, str], int]) -> bool:
    columns = (planned.column(name).to_pylist() for name in ("path", "member", "size"))
    same = sum(found.get((path, member)) == size for path, member, size in zip(*columns, strict=True))
    return same > 0 and 2 * same >= planned.num_rows
