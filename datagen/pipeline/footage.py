"""Find the footage of a command and list its source videos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datagen.bundled.demo_set import write_demo
from datagen.common.errors import UserError
from datagen.output.paths import Output
from datagen.plan.parts import ListedSource, read_plan
from datagen.sources.files import require_root
from datagen.sources.listing import base_of, list_sources
from datagen.sources.manifest import Manifest, input_manifest, load_manifest, root_of
from datagen.sources.roots import Roots, name_root, prefix_of, read_roots
from datagen.sources.source import describe_skipped

Say = Callable[[str], None]
"""Shows a message to the user."""


@dataclass(frozen=True)
class Footage:
    """Location of the footage of a command; it is not listed yet.

    Attributes:
        places: pairs of a manifest and its root: a folder, archive or video.
        recipe: recipe values of the manifest.
    """

    places: tuple[tuple[Manifest, Path], ...]
    recipe: dict[str, Any]

    def sources(self, out: Output, say: Say) -> tuple[list[ListedSource], Roots]:
        """List every source video once, and name the roots.

        Args:
            out: the output; its folder is not listed, and it stores the roots of earlier commands.
            say: called with what was skipped and which root has moved.

        Raises:
            UserError: a root is missing, or there is no source.
        """
        roots = read_roots(out)
        plan = read_plan(out)
        found: list[ListedSource] = []
        seen: set[tuple[Path, bytes, str]] = set()
        for manifest, path in self.places:
            require_root(path)
            skip = None if manifest.generate is not None else out.root.absolute()
            listing = list_sources(path, manifest, skip=skip)
            if manifest.generate is None:
                for line in describe_skipped(listing):
                    say(line)
            base = base_of(path)
            old = dict(roots)
            roots, name, moved = name_root(roots, manifest.name, base, listing, plan)
            if moved:
                say(f"root {name} has moved from {old[name]} to {base}; its sources stay as planned")
            prefix = prefix_of(roots, name)
            for source in listing.sources:
                where = (base, source.path, source.member)
                if where not in seen:
                    seen.add(where)
                    found.append(ListedSource(source, manifest, name, prefix))
        if not found:
            places = ", ".join(str(path) for _, path in self.places)
            raise UserError(f"no video found in {places}; check the path and the file suffixes")
        return found, roots


def find_footage(
    manifest_name: str | None, inputs: list[Path], root: Path | None, accepted: list[str], media: Path
) -> Footage:
    """Find the footage that a command names.

    Args:
        manifest_name: name or file of a manifest, or None.
        inputs: paths of footage, if there is no manifest.
        root: folder of the manifest's footage, if it is not where the manifest says.
        accepted: names of data sets whose terms the user accepted.
        media: folder for generated footage; it is generated now if the manifest asks for it.

    Raises:
        UserError: wrong usage, a path that does not exist, or terms that forbid the use.
    """
    if (manifest_name is None) == (not inputs):
        raise UserError("give footage: either a manifest, or one or more paths (--input)", code=2)
    if manifest_name is None:
        for path in inputs:
            if not path.exists():
                raise UserError(f"footage {path} does not exist; check the path", code=2)
        return Footage(tuple((input_manifest(), path.absolute()) for path in inputs), {})
    manifest, folder = load_manifest(manifest_name)
    manifest.check_terms(accepted)
    if manifest.generate is not None:
        write_demo(media)
        where = media.absolute()
    else:
        where = root.absolute() if root is not None else root_of(manifest, folder)
    return Footage(((manifest, where),), manifest.recipe)
