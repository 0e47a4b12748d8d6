"""The facts on the cards, read once from the clips that readers can see."""

from __future__ import annotations

import datetime
import hashlib
import unicodedata
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from datagen.inspect.query import summary
from datagen.output.paths import Output, published_names
from datagen.output.publish import read_tables
from datagen.output.schema import INDEX, MODEL, Column
from datagen.shards.reader import Dataset

# From the least strict to the strictest; a row without a value counts as unstated.
SHARING = ("allowed", "same-licence", "unstated", "forbidden")

USE = (
    "Training of portrait animation. The swapped, styled and driving streams are synthetic: they show people doing "
    "what somebody else did. Do not use them to deceive, to identify or to imitate anyone."
)


@dataclass(frozen=True)
class Facts:
    """The facts on the cards.

    Attributes:
        name: name of the output's folder, one line.
        found: see `datagen.inspect.query.summary`.
        version: `1.0.0+<hash of the clips>`, so that equal clips give an equal version.
        published: day on which the newest unit was published.
        columns: columns of the index; an index that an older version began may lack some.
        suffixes: the kinds of files of clips: `json`, `video.mp4` ...
        sharing: rule on passing clips on -> names of data sets; only rules that occur, the least strict first.
        credits: data set, its credit line, and number of clips.
        models: name, version, licence and number of clips of every network used.
        shards, index: patterns or names, relative to the output, of the files with readable clips.
        left_out: number of shards that are not in `shards` because they still contain withdrawn clips.
    """

    name: str
    found: dict[str, Any]
    version: str
    published: datetime.date
    columns: tuple[Column, ...]
    suffixes: tuple[str, ...]
    sharing: dict[str, tuple[str, ...]]
    credits: tuple[tuple[str, str, int], ...]
    models: tuple[tuple[str, str, str, int], ...]
    shards: tuple[str, ...]
    index: tuple[str, ...]
    left_out: int

    @property
    def strictest(self) -> str:
        """The strictest rule on passing clips on."""
        return next(reversed(self.sharing), "unstated")


def gather(out: Output, dataset: Dataset) -> Facts:
    """Read the facts on the cards.

    Args:
        out: the output.
        dataset: the whole output; only its clips are described.
    """
    table = dataset.table
    hidden = _with_withdrawn_clips(out, table)
    shards: tuple[str, ...] = ("shards/*.tar",)
    index: tuple[str, ...] = ("index/*.parquet",)
    if hidden:
        bad_shards, bad_units = (set(column) for column in zip(*hidden, strict=True))
        shards = tuple(f"shards/{name}" for name in _values(table["shard"]) if name not in bad_shards)
        index = tuple(f"index/{unit}.parquet" for unit in _values(table["unit"]) if unit not in bad_units)
    return Facts(
        name=one_line(out.root.resolve().name),
        found=summary(dataset),
        version=f"1.0.0+{_digest(table)}",
        published=_newest(out),
        columns=_columns(out),
        suffixes=_suffixes(table),
        sharing=_sharing(table),
        credits=_credits(table),
        models=_models(table),
        shards=shards,
        index=index,
        left_out=len(hidden),
    )


def one_line(text: str) -> str:
    """Text of unknown origin on one line, without control characters."""
    spaced = " ".join(text.split())
    return "".join(letter for letter in spaced if unicodedata.category(letter)[0] != "C")


def _with_withdrawn_clips(out: Output, table: pa.Table) -> set[tuple[str, str]]:
    """Shards, with their units, that still contain withdrawn clips.

    Programs that read the files directly do not check tombstones, so the cards must not list these files.
    """
    if not published_names(out.withdrawn, ".json"):
        return set()
    keys = ["clip_id", "unit", "shard"]
    stored = read_tables(out.index, keys)
    gone = stored.join(table.select(keys), keys=keys, join_type="left anti")
    return set(zip(gone["shard"].to_pylist(), gone["unit"].to_pylist(), strict=True))


def _digest(table: pa.Table) -> str:
    """Hash of the clip ids and the shard names, which contain the hash of the shard's bytes."""
    digest = hashlib.sha256()
    for batch in table.select(["clip_id", "shard"]).sort_by("clip_id").to_batches():
        for clip_id, shard in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            digest.update(f"{clip_id} {shard}\n".encode())
    return digest.hexdigest()[:12]


def _newest(out: Output) -> datetime.date:
    times = [path.stat().st_mtime for path in out.index.glob("*.parquet")]
    return datetime.datetime.fromtimestamp(max(times, default=0), datetime.UTC).date()


def _columns(out: Output) -> tuple[Column, ...]:
    first = min(out.index.glob("*.parquet"), default=None)
    stored = set(() if first is None else pq.read_schema(first).names)
    return tuple(column for column in INDEX if column.name in stored)


def _suffixes(table: pa.Table) -> tuple[str, ...]:
    members = pc.struct_field(pc.list_flatten(table["members"]), "name")
    return tuple(_values(pc.replace_substring_regex(members, r"^[^.]*\.", "")))


def _values(column: pa.ChunkedArray) -> list[str]:
    return sorted(value for value in column.unique().to_pylist() if value is not None)


def _sharing(table: pa.Table) -> dict[str, tuple[str, ...]]:
    found: dict[str, set[str]] = {}
    for row in table.group_by(["dataset", "sharing"]).aggregate([]).to_pylist():
        word = row["sharing"] if row["sharing"] in SHARING else "unstated"
        found.setdefault(word, set()).add(one_line(row["dataset"] or "unnamed"))
    return {word: tuple(sorted(found[word])) for word in SHARING if word in found}


def _credits(table: pa.Table) -> tuple[tuple[str, str, int], ...]:
    named = table.select(["dataset", "credit"]).filter(pc.is_valid(table["credit"]))
    counted = named.group_by(["dataset", "credit"]).aggregate([([], "count_all")]).to_pylist()
    rows = [
        (one_line(row["dataset"] or "unnamed"), one_line(row["credit"]), row["count_all"]) for row in counted
    ]
    return tuple(sorted(row for row in rows if row[1]))


def _models(table: pa.Table) -> tuple[tuple[str, str, str, int], ...]:
    used = pa.Table.from_batches(
        [pa.RecordBatch.from_struct_array(chunk) for chunk in pc.list_flatten(table["models"]).chunks],
        schema=pa.schema(list(MODEL)),
    )
    keys = ["name", "version", "licence"]
    counted = used.group_by(keys).aggregate([([], "count_all")]).to_pylist()
    rows = [(*(one_line(row[key] or "") for key in keys), row["count_all"]) for row in counted]
    return tuple(sorted((name, version, licence, count) for name, version, licence, count in rows))
