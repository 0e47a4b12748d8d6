"""Local folders and object stores are read in the same way."""

from __future__ import annotations

import fsspec
import pytest

from datagen.common.errors import UserError
from datagen.inspect.verify import verify
from datagen.output.paths import Output
from datagen.output.store import Store
from datagen.shards import Dataset


def test_object_stores_are_read_like_folders(dataset: Output) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(dataset.root), "/sets/one", recursive=True)
    rows = Dataset(dataset.root).table
    for uri in ("memory://sets/one", dataset.root.as_uri()):
        data = Dataset(uri)
        assert data.table == rows and data.read(data.row(1), "video.mp4") == b"\1" * 700
    memory.rm("/sets", recursive=True)


def test_a_failed_read_from_a_store_is_retried(dataset: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(dataset.root), "/flaky", recursive=True)
    data = Dataset("memory://flaky")
    answers = [OSError("500 Internal Server Error"), None, *[OSError("503 Slow Down")] * 3]
    opened = type(memory).open

    def flaky(*arguments: object, **options: object) -> object:
        if error := answers.pop(0):
            raise error
        return opened(*arguments, **options)

    monkeypatch.setattr(type(memory), "open", flaky)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    assert data.read(data.row(0), "video.mp4") == b"\0" * 700
    with pytest.raises(UserError, match="503 Slow Down"):
        data.read(data.row(0), "video.mp4")


def test_a_column_name_that_is_not_text_is_one_error_line(dataset):
    path = dataset.index / "p00000-u00.parquet"
    path.write_bytes(path.read_bytes().replace(b"clip_id", b"cl\x92p_id"))
    with pytest.raises(UserError, match="cannot be read"):
        Store.open(dataset.root).table("index", path.name)
    assert "p00000-u00" in verify(dataset.root).damaged_units
