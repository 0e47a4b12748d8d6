"""`croissant.json`: the description of a data set in Croissant 1.1; `mlcroissant` can check it and read the records.

Specification: https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from datagen.common.version import __version__
from datagen.inspect.cards.facts import USE, Facts, one_line
from datagen.inspect.cards.sharing import terms

# From appendix 1 of the specification, with additional terms that mlcroissant 1.1 expects.
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "description": {"@container": "@language"},
    "name": {"@container": "@language"},
} | {
    word: f"cr:{word}"
    for word in (  # noqa: SIM905
        "annotation arrayShape citeAs column containedIn equivalentProperty excludes extract field fileProperty "
        "fileObject fileSet format includes isArray isLiveDataset jsonPath key md5 parentField path readLines "
        "recordSet references regex repeated replace samplingRate sdVersion separator source subField transform "
        "unArchive"
    ).split()
}

SCALARS = {
    pa.string(): "sc:Text",
    pa.bool_(): "sc:Boolean",
    pa.int16(): "cr:Int16",
    pa.int32(): "cr:Int32",
    pa.int64(): "cr:Int64",
    pa.float32(): "cr:Float32",
    pa.float64(): "cr:Float64",
}


def croissant(facts: Facts) -> dict[str, Any]:
    """Description of the shards and the index, with one record set of all columns of the index."""
    found = facts.found
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": facts.name,
        "description": f"{found['clips']} talking-head clips with another identity, another look and driving video",
        "version": facts.version,
        "datePublished": facts.published.isoformat(),
        "creator": {
            "@type": "sc:Organization",
            "name": "megactor-datagen",
            "description": f"made by a program, megactor-datagen {__version__}, from the footage of other data sets",
        },
        "citeAs": _citation(facts),
        "license": [
            {"@type": "sc:CreativeWork", "name": one_line(text)}
            for text in sorted(found["licences"]) or ["unstated"]
        ],
        "conditionsOfAccess": terms(facts),
        "creditText": [credit for _, credit, _ in facts.credits],
        "keywords": ["portrait animation", "talking head", "face swap", "synthetic video", "webdataset"],
        "rai:dataUseCases": USE,
        "rai:personalSensitiveInformation": "Faces of people; consent terms: "
        + ("; ".join(one_line(text) for text in sorted(found["consent"])) or "unstated"),
        "rai:dataManipulationProtocol": "Face swap, stylisation, scale and aspect change, face masking; see the index.",
        **(_files(facts) if facts.shards else {}),
    }


def _files(facts: Facts) -> dict[str, Any]:
    """The files of the data set, and the record set that reads their rows."""
    return {
        "distribution": [
            {
                "@type": "cr:FileSet",
                "@id": "shards",
                "name": "shards",
                "description": "WebDataset tars",
                "encodingFormat": "application/x-tar",
                "includes": list(facts.shards),
            },
            {
                "@type": "cr:FileSet",
                "@id": "index",
                "name": "index",
                "description": "one row per clip, with the byte range of each of its files",
                "encodingFormat": "application/x-parquet",
                "includes": list(facts.index),
            },
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "clips",
                "name": "clips",
                "description": "one record per clip",
                "key": {"@id": "clips/clip_id"},
                "field": [_field(column.name, column.type, column.meaning) for column in facts.columns],
            }
        ],
    }


def _citation(facts: Facts) -> str:
    title = facts.name.translate(str.maketrans("", "", "{}\\"))
    return (
        f"@misc{{{facts.version.partition('+')[2]}, title = {{{title}}}, version = {{{facts.version}}}, "
        f"year = {{{facts.published.year}}}, note = {{made with megactor-datagen {__version__}}}}}"
    )


def _field(column: str, kind: pa.DataType, meaning: str) -> dict[str, Any]:
    """A column as a field: members of structs are sub-fields, lists are arrays."""
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"clips/{column}",
        "name": column,
        "description": meaning,
    }
    shape = []
    while pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        shape.append(str(kind.list_size) if pa.types.is_fixed_size_list(kind) else "-1")
        kind = kind.value_type
    if shape:
        field |= {"isArray": True, "arrayShape": ",".join(shape)}
    if pa.types.is_struct(kind):
        return field | {"subField": [_part(column, part) for part in kind]}
    return field | {"dataType": SCALARS[kind], "source": _source(column)}


def _part(column: str, part: pa.Field) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"clips/{column}/{part.name}",
        "name": part.name,
        "dataType": SCALARS[part.type],
        "source": _source(column) | {"transform": {"jsonPath": f"$.{part.name}"}},
    }


def _source(column: str) -> dict[str, Any]:
    return {"fileSet": {"@id": "index"}, "extract": {"column": column}}
