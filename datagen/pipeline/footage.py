"""Where the footage of a command lies, and what is listed there."""

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


@dataclass(frozen=True)
class Footage:
    """Where the footage of a command lies; nothing is listed yet.

    Attributes:
        places: manifest, and the folder, archive or video that is its root.
        recipe: what the manifest asks for.
    """

    places: tuple[tuple[Manifest, Path], ...]
    recipe: dict[str, Any]

    def sources(self, out: Output, say: Say) -> tuple[list[ListedSource], Roots]:
        """Every source video once, and the roots by name.

        Args:
            out: the output; its folder is never listed, and it knows the roots of earlier commands.
            say: told what was passed over, and which root has moved.

        Raises:
            UserError: a root is not there, or there is no source.
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
            raise UserError(f"no video found in {places}; check the path and the file endings")
        return found, roots


def find_footage(
    manifest_name: str | None, inputs: list[Path], root: Path | None, accepted: list[str], media: Path
) -> Footage:
    """Where the footage of the command line lies.

    Args:
        manifest_name: manifest or None.
        inputs: paths given instead.
        root: where the manifest's footage lies, if elsewhere.
        accepted: data sets whose terms are accepted by name.
        media: folder where footage made by code goes; it is made now.

    Raises:
        UserError: bad usage, a path that does not exist, or terms that forbid the use.
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
