"""What a data set says of itself at the end of a run: `croissant.json` for machines, `DATASET.md` for people."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pyarrow as pa

from datagen import __version__
from datagen.inspecting import summary
from datagen.layout import Output
from datagen.publish import replace
from datagen.schema import INDEX, MODEL, Column
from datagen.shards.reader import Dataset

SCHEMA = "https://schema.org/"
CROISSANT = "http://mlcommons.org/croissant/"
CONTEXT = {
    "@language": "en",
    "@vocab": SCHEMA,
    "cr": CROISSANT,
    "sc": SCHEMA,
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "includes": "cr:includes",
    "recordSet": "cr:recordSet",
    "repeated": "cr:repeated",
    "source": "cr:source",
}
USE = (
    "Training of portrait animation. The swapped, styled and driving streams are synthetic: they show people doing "
    "what somebody else did. Do not use them to deceive, to identify or to imitate anyone."
)


def write_cards(out: Output, dataset: Dataset) -> None:
    """Write `croissant.json` and `DATASET.md` into the output; both may be written again."""
    found = summary(dataset)
    croissant = json.dumps(croissant_of(out.root.name, found), indent=1, ensure_ascii=False)
    replace(f"{croissant}\n".encode(), out.root / "croissant.json", out.tmp)
    replace(_card(out.root.name, found, dataset).encode(), out.root / "DATASET.md", out.tmp)


def croissant_of(name: str, found: dict[str, Any]) -> dict[str, Any]:
    """Croissant 1.1 description: the shards, the index, and a record set with the index's columns."""
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": name,
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "description": f"{found['clips']} talking-head clips with another identity, another look and driving video",
        "license": sorted(found["licences"]),
        "creator": {
            "@type": "SoftwareApplication",
            "name": "megactor-datagen",
            "softwareVersion": __version__,
        },
        "rai:dataUseCases": USE,
        "rai:personalSensitiveInformation": "Faces of people; consent terms: "
        + "; ".join(sorted(found["consent"])),
        "rai:dataManipulationProtocol": "Face swap, stylisation, scale and aspect change, face masking; see the index.",
        "distribution": [
            {
                "@type": "cr:FileSet",
                "@id": "shards",
                "encodingFormat": "application/x-tar",
                "includes": "shards/*.tar",
                "description": "WebDataset tars",
            },
            {
                "@type": "cr:FileSet",
                "@id": "index",
                "encodingFormat": "application/vnd.apache.parquet",
                "includes": "index/*.parquet",
                "description": "one row per clip, with the byte range of each of its files",
            },
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "clips",
                "key": {"@id": "clips/clip_id"},
                "field": [_field(column) for column in INDEX if not pa.types.is_nested(column.type)],
            }
        ],
    }


def _field(column: Column) -> dict[str, Any]:
    kind = "sc:Text"
    if pa.types.is_boolean(column.type):
        kind = "sc:Boolean"
    elif pa.types.is_integer(column.type):
        kind = "sc:Integer"
    elif pa.types.is_floating(column.type):
        kind = "sc:Float"
    return {
        "@type": "cr:Field",
        "@id": f"clips/{column.name}",
        "name": column.name,
        "description": column.meaning,
        "dataType": kind,
        "source": {"fileSet": {"@id": "index"}, "extract": {"column": column.name}},
    }


def _card(name: str, found: dict[str, Any], dataset: Dataset) -> str:
    models: Counter[tuple[str, ...]] = Counter()
    for used in dataset.table["models"].to_pylist():
        models.update(tuple(str(model[field.name]) for field in MODEL) for model in used)
    lines = "\n".join(
        f"| {' | '.join(model[:2])} | {model[3]} | {count} |" for model, count in sorted(models.items())
    )
    counted = {
        "clips": found["clips"],
        "frames": found["frames"],
        "hours": found["hours"],
        "sources": found["sources"],
        "subjects known": found["subjects"],
        **{f"split {split}": count for split, count in found["splits"].items()},
        **{f"stream {stream}": count for stream, count in found["streams"].items()},
    }
    rows = "\n".join(f"| {key} | {value} |" for key, value in counted.items())
    medians = "\n".join(f"| {key} | {value:g} |" for key, value in found["medians"].items())
    left_out = ", ".join(f"{reason} {count}" for reason, count in found["failures"].items()) or "nothing"
    return f"""# {name}

Talking-head clips with synthetic counterparts, made by megactor-datagen {__version__}.

{USE}

| | |
|---|---|
{rows}

**Licences of the footage:** {"; ".join(found["licences"])}
**Consent:** {"; ".join(found["consent"])}
**Recipe:** {", ".join(found["recipes"])}
**Left out:** {left_out}

## Networks used

| name | version | licence | clips |
|---|---|---|---|
{lines}

## Medians of measured quality

| column | median |
|---|---|
{medians}
"""
