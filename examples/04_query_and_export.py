"""Read a data set without this package: DuckDB for index and failures, webdataset for the shards."""

from __future__ import annotations

import json

import duckdb
import webdataset
from small_set import WORK, small_set


def main() -> None:
    """Print tables of the index, export the failures as CSV, and read every clip of the shards."""
    out = small_set()
    index = duckdb.read_parquet(f"{out}/index/*.parquet")
    columns = "split, count(*) as clips, sum(frames / fps) as seconds, round(avg(identity_to_source), 2) as to_source"
    index.aggregate(columns, "split").show()
    failures = duckdb.read_parquet(f"{out}/failures/*.parquet")
    failed = failures.project("source, reason, message, hint").order("source")
    failed.show()
    failed.write_csv(str(WORK / "failures.csv"))

    shards = sorted(str(path) for path in (out / "shards").glob("*.tar"))
    samples = webdataset.WebDataset(shards, shardshuffle=False)
    for sample in samples:
        row = json.loads(sample["json"])  # the clip's row of the index
        sizes = {key: len(value) for key, value in sample.items() if key.endswith(("mp4", "safetensors"))}
        print(f"{sample['__key__']}, {row['frames']} frames of {row['source']}, bytes of its files: {sizes}")
    print(f"failures are in {WORK / 'failures.csv'}")


if __name__ == "__main__":
    main()
