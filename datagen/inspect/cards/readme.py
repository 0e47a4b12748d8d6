"""`README.md`: the card of a data set, with a header for the Hugging Face hub and `datasets`.

The header's fields: https://huggingface.co/docs/hub/datasets-cards and
https://huggingface.co/docs/datasets/repository_structure
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import yaml

from datagen.common.version import __version__
from datagen.inspect.cards.facts import USE, Facts, one_line
from datagen.inspect.cards.sharing import ALLOWED, terms
from datagen.output.schema import INDEX
from datagen.shards.writer import JSON_LEAVES_OUT

MARK = "<!-- Written by megactor-datagen; `run`, `remove` and `compact` write it again. -->"
CREDITS_SHOWN = 500  # with one credit per author the list could be megabytes long; the index has all of them

_SIZES = {
    1_000: "n<1K",
    10_000: "1K<n<10K",
    100_000: "10K<n<100K",
    1_000_000: "100K<n<1M",
    10_000_000: "1M<n<10M",
}

# Ids of the Hugging Face hub for licences of footage.
HUB_LICENCES = (  # noqa: SIM905
    "apache-2.0 mit bsd bsd-2-clause bsd-3-clause c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 "
    "cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 "
    "cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0 "
    "cdla-permissive-2.0 odc-by odbl pddl unlicense gpl-3.0 lgpl-3.0 gfdl etalab-2.0"
).split()


def readme(facts: Facts) -> str:
    """The card: the header, then text and tables."""
    header = yaml.safe_dump(_header(facts), sort_keys=False, allow_unicode=True, width=1 << 20)
    return f"---\n{header}---\n{MARK}\n\n{_body(facts)}"


def _header(facts: Facts) -> dict[str, Any]:
    clips = facts.found["clips"]
    return {
        "pretty_name": facts.name,
        **_licence(facts),
        "task_categories": ["image-to-video", "video-to-video"],
        "size_categories": [next((word for limit, word in _SIZES.items() if clips < limit), "10M<n<100M")],
        "tags": ["webdataset", "video", "portrait-animation", "talking-head", "face-swap", "synthetic"],
        "configs": [{"config_name": "default", "data_files": _one_or_list(facts.shards)}],
        "dataset_info": {"config_name": "default", "features": _features(facts)},
    }


def _licence(facts: Facts) -> dict[str, Any]:
    texts = sorted(facts.found["licences"])
    ids = [_hub_licence(text) for text in texts]
    if ids and all(ids):
        return {"license": _one_or_list(ids)}
    name = texts[0] if len(texts) == 1 else ("several, see below" if texts else "unstated")
    slug = re.sub(r"[^a-z0-9.]+", "-", name.lower())[:60].strip("-")
    return {"license": "other", "license_name": slug or "other"}


def _hub_licence(text: str) -> str | None:
    """The hub's id of a licence, such as `cc-by-4.0` for `CC BY 4.0`; None if it has none."""
    word = re.sub(r"[\s_]+", "-", text.strip().lower())
    return word if word in HUB_LICENCES else None


def _one_or_list(values: Iterable[Any]) -> Any:
    listed = list(values)
    return listed[0] if len(listed) == 1 else listed


def _features(facts: Facts) -> list[dict[str, Any]]:
    """Type of every file of a clip, as `datasets` writes types in YAML.

    Without them `datasets` infers the types from five clips, and fails if one of these lacks a stream. Videos are given
    as bytes; `cast_column(name, Video())` decodes them if torchcodec is installed.
    """
    row = {"struct": [_feature(c.name, c.type) for c in INDEX if c.name not in JSON_LEAVES_OUT]}
    files = []
    for suffix in facts.suffixes:
        kind: dict[str, Any] = {"dtype": "binary"}
        if suffix.endswith(".mp4"):
            kind = {"dtype": {"video": {"decode": False}}}
        files.append({"name": suffix, **(row if suffix == "json" else kind)})
    return [*files, {"name": "__key__", "dtype": "string"}, {"name": "__url__", "dtype": "string"}]


def _feature(name: str, kind: pa.DataType) -> dict[str, Any]:
    return {"name": name, **_type(kind)}


def _type(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_struct(kind):
        return {"struct": [_feature(part.name, part.type) for part in kind]}
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        inner = _type(kind.value_type)
        return {"list": inner.get("dtype") or inner.get("struct") or inner}
    return {"dtype": {pa.float32(): "float32", pa.float64(): "float64"}.get(kind, str(kind))}


def _body(facts: Facts) -> str:
    found = facts.found
    counted = {
        "clips": found["clips"],
        "frames": found["frames"],
        "hours": found["hours"],
        "sources": found["sources"],
        "subjects known": found["subjects"],
        **{f"split {split}": count for split, count in found["splits"].items()},
        **{f"stream {stream}": count for stream, count in found["streams"].items()},
    }
    left_out = ", ".join(f"{reason} {count}" for reason, count in found["failures"].items()) or "nothing"
    return "\n".join(
        [
            f"# {_text(facts.name)}",
            "",
            f"Talking-head clips with synthetic counterparts, made by megactor-datagen {__version__}. "
            f"Version {facts.version}.",
            "",
            USE,
            "",
            *_table(("", ""), counted.items()),
            f"- **Licences of the footage:** {_listed(found['licences'])}",
            f"- **Consent:** {_listed(found['consent'])}",
            f"- **Recipe:** {_listed(found['recipes'])}",
            f"- **Left out:** {_text(left_out)}",
            "",
            *_sharing(facts),
            *_credits(facts),
            *_reading(facts),
            "## Networks used",
            "",
            *_table(("name", "version", "licence", "clips"), facts.models),
            "## Medians of measured quality",
            "",
            *_table(("column", "median"), ((key, f"{value:g}") for key, value in found["medians"].items())),
        ]
    )


def _sharing(facts: Facts) -> list[str]:
    lines = ["## Passing it on", "", _text(terms(facts)), ""]
    if len(facts.sharing) > 1 and "allowed" in facts.sharing:
        lines += [
            f'`--where "{ALLOWED}"` takes the part that may be passed on: `megactor-datagen inspect OUT --where '
            f'"{ALLOWED}"`, or `datagen.shards.Dataset(OUT, where="{ALLOWED}")`.',
            "",
        ]
    if facts.left_out:
        lines += [
            f"{facts.left_out} shards still hold footage that was withdrawn; they are left out of the header above. "
            "Run `megactor-datagen compact OUT --purge` before you pass anything on.",
            "",
        ]
    return lines


def _credits(facts: Facts) -> list[str]:
    if not facts.credits:
        return []
    rest = len(facts.credits) - CREDITS_SHOWN
    more = [f"And {rest} more: column `credit` of the index.", ""] if rest > 0 else []
    return ["## Credits", "", *_table(("data set", "credit", "clips"), facts.credits[:CREDITS_SHOWN]), *more]


def _reading(facts: Facts) -> list[str]:
    rows = 'rows = load_dataset("parquet", data_files="OUT/index/*.parquet", split="train")'
    return [
        "## Reading",
        "",
        "```python",
        "from datasets import Video, load_dataset  # OUT: this folder, or its name on the hub",
        "",
        'clips = load_dataset("OUT", split="train")  # every clip; its own split is in clips[0]["json"]["split"]',
        'clips = clips.cast_column("video.mp4", Video())  # frames, where torchcodec is installed; else bytes',
        *([] if facts.left_out else [rows]),
        "```",
        "",
    ]


def _table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> list[str]:
    cells = [" | ".join(_text(str(value)) for value in row) for row in rows]
    return [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {row} |" for row in cells), ""]


def _listed(texts: Iterable[str]) -> str:
    return "; ".join(_text(text) for text in sorted(texts)) or "unstated"


def _text(text: str) -> str:
    """Text of unknown origin as one line of Markdown, with its mark-up characters escaped."""
    return re.sub(r"([\\`*\[\]<>|]|(?<!\w)_|_(?!\w))", r"\\\1", one_line(text))
