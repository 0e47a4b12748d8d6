"""The merged index."""

from __future__ import annotations

from datagen.output.paths import Output
from datagen.shards import Dataset
from datagen.shards.compact import compact_index
from tests.shards.made import write_unit


def test_a_compacted_index_reads_like_its_pieces(dataset: Output) -> None:
    before = Dataset(dataset.root).table
    assert compact_index(dataset) == 5
    assert Dataset(dataset.root).table == before
    write_unit(dataset, "p00000-u03", clips=1)
    assert len(Dataset(dataset.root)) == 6
    assert len(Dataset(dataset.root, "unit = 'p00000-u03' or frames = 33")) == 3
    assert compact_index(dataset) == 6 and len(Dataset(dataset.root)) == 6
    assert not list(dataset.tmp.iterdir())
