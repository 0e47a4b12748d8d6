"""Write the reference page of the format, `docs/format.md`, from the schema: `python -m docs.generate.format_page`."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa

from datagen.common.errors import REASONS
from datagen.output.schema import TABLES, Column

PAGE = Path(__file__).resolve().parents[1] / "format.md"

FOLDERS = {
    "plan": ("plan/sources-*.parquet", "Source videos in parts. Append-only: new sources get new parts."),
    "clips": ("clips/<part>.parquet", "Clip tables, one per curated part."),
    "waves": (
        "plan/waves/<wave>.parquet",
        "Frozen columns of the clips of a wave, or of parts that a retry curated again: unit, split, person, rank.",
    ),
    "donors": ("plan/donors/<wave>.parquet", "The donor pool of a wave; refused portraits have a reason."),
    "index": (
        "index/<unit>.parquet",
        "The index, one piece per unit. A unit exists only if its index piece does.",
    ),
    "failures": ("failures/<part or unit>.parquet", "What was left out and why; every loss has a row."),
}

INTRODUCTION = """\
# The format

*Generated from `datagen/output/schema.py` by `python -m docs.generate.format_page`; edit the sources, not this page.*

```
OUT/run.json                  recipe, hashes, software versions, codec and CPU fingerprint
OUT/plan/  OUT/clips/         source videos in parts, waves, donor pools; clip tables
OUT/shards/<unit>-<hash>.tar  the clips; <hash> is the start of the sha256 of the tar
OUT/index/<unit>.parquet      index piece: their rows; published last of all files of a unit
OUT/failures/                 what was left out, and why
OUT/withdrawn/                tombstones: hashes of withdrawn sources, people and portraits; readers hide them
OUT/precomputed/              latents and tokens from `precompute`, with their own index; see training.md
OUT/README.md croissant.json  cards of the data set: for people, Hugging Face `datasets` and `mlcroissant`
OUT/compacted/                merged index pieces, one file per large finished wave; optional, for fast opening
OUT/logs/  OUT/tmp/           the only folders whose contents may differ between runs
```

A unit is complete or absent. First its shard, then its failures and last its index piece are written under `tmp/`,
synced, and linked to their final names. Existing files are not replaced.

## Waves

A wave is a group of parts that are processed together: at most `plan.sources_per_wave` sources, or as many as
`--limit` asks for. The parts of a wave are written to `plan/waves/<wave>.json` before the first of them is curated.
When all of them are curated, the wave is frozen: clips are grouped by file, `group`, subject, same person and same
footage; every group gets one split; and donors are chosen for each split, so that no donor is used in two splits.
A clip depends only on the recipe, on its own wave and on earlier waves. Therefore: **same waves, same bytes**. One
`run`, several interrupted ones, or the stages one after another or in parallel give the same files. `run --limit 1`
followed by `run` makes two waves where a single `run` makes one: the shards differ from those of the single run, but
are equal to those of any other run with the same limits.

## Shards

Plain tar files in the WebDataset layout. Headers hold no times, users or hosts. The members of a clip are stored
together, sorted by name, so that one range read fetches one file or the whole clip. All streams of a clip have
the same number of frames at the same times.

| member | content |
|---|---|
| `<clip>.video.mp4` | the target: the clip itself |
| `<clip>.swapped.mp4`, `<clip>.styled.mp4` | the clip with another identity; with another look |
| `<clip>.driving_video.mp4`, `.driving_swapped.mp4` ... | that stream, augmented, masked to the face, in grey |
| `<clip>.mask.mp4` | foreground 255, background 0; lossless, grey |
| `<clip>.face.safetensors` | per frame, float16: `landmarks` (F, 468, 3), `irises` (F, 2, 5, 2), \
`box` (F, 4), `pose` (F, 3), `presence` (F,); pixels of the clip, degrees |
| `<clip>.json` | the index row without `shard` and `members` |

A clip may lack `swapped` or `styled`; `swap_refused` and `style_refused` in its row say why.

## Reading

```python
from datagen.shards import Dataset  # folders, s3://, gs:// and all that fsspec supports

data = Dataset("out/demo", where="split = 'train' and face_area > 0.2")
row = data.row(0)  # a dict; data.table is the whole index
frames = data.frames(row, "swapped", [0, 5])  # uint8 (2, H, W, 3) RGB, one range read
landmarks = data.faces(row)["landmarks"]

import glob, webdataset

samples = webdataset.WebDataset(sorted(glob.glob("out/demo/shards/*.tar")), shardshuffle=False)

import datasets, mlcroissant  # both read the cards in the output

clips = datasets.load_dataset("out/demo", split="train")  # all clips; missing streams are None
rows = datasets.load_dataset("parquet", data_files="out/demo/index/*.parquet", split="train")
records = mlcroissant.Dataset("out/demo/croissant.json").records("clips")  # the index
```

`datasets` returns videos as bytes; `clips.cast_column("video.mp4", datasets.Video())` decodes them if torchcodec is
installed. An output can be uploaded to the Hugging Face hub as it is: `hf upload NAME OUT --repo-type dataset
--include "README.md" "croissant.json" "shards/*" "index/*"`. Do not upload the rest: `clips/` and `plan/` hold
portraits and identity embeddings.

```sql
-- DuckDB; pyarrow and Polars read the same files
select split, count(*), sum(frames / fps) / 3600 as hours from 'out/demo/index/*.parquet' group by split
```

`Dataset` leaves withdrawn clips out at once. Programs that read the files directly do not know tombstones. The cards
leave out every file that still holds a withdrawn clip, until `compact --purge` has written it again.
"""


def page() -> str:
    """The whole page as Markdown."""
    sections = [INTRODUCTION]
    for name, columns in TABLES.items():
        path, meaning = FOLDERS[name]
        sections.append(f"## `{path}`\n\n{meaning}\n\n{_table(columns)}")
    reasons = "\n".join(f"| `{reason}` | {meaning} |" for reason, meaning in REASONS.items())
    sections.append(
        f"## Reasons\n\nValues of `reason` in failures.\n\n| reason | meaning |\n|---|---|\n{reasons}\n"
    )
    return "\n".join(sections)


def _table(columns: tuple[Column, ...]) -> str:
    rows = "\n".join(f"| `{item.name}` | {_type(item.type)} | {item.meaning} |" for item in columns)
    return f"| column | type | meaning |\n|---|---|---|\n{rows}\n"


def _type(kind: pa.DataType) -> str:
    if pa.types.is_struct(kind):
        return "{" + ", ".join(f"{field.name} {_type(field.type)}" for field in kind) + "}"
    if pa.types.is_fixed_size_list(kind):
        return f"{kind.list_size} x {_type(kind.value_type)}"
    if pa.types.is_list(kind):
        return f"list of {_type(kind.value_type)}"
    return {"float": "float32", "double": "float64"}.get(str(kind), str(kind))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE}\n")
