from dataclasses import replace

from datagen.output.ids import key_hash
from datagen.output.paths import Output
from datagen.output.tombstones import withdraw
from datagen.plan import parts
from datagen.plan.parts import ListedSource, extend_plan
from datagen.recipe import load_recipe
from datagen.sources.manifest import input_manifest
from datagen.sources.source import SourceVideo

RECIPE = load_recipe(None, ["plan.sources_per_part=2"])


def source(name, subject=None, size=10):
    return SourceVideo(name, name.encode(), "", size, "1", subject)


def plan(out, *sources):
    return extend_plan(out, [ListedSource(item, input_manifest(), "videos", "") for item in sources], RECIPE)


def test_parts_are_fixed_and_new_sources_get_new_ones(tmp_path):
    out = Output(tmp_path)
    out.create()
    first = plan(out, source("c.mp4"), source("a.mp4"), source("b.mp4"))
    assert first.table.select(["part", "source"]).to_pylist() == [
        {"part": "p00000", "source": "a.mp4"},
        {"part": "p00000", "source": "b.mp4"},
        {"part": "p00001", "source": "c.mp4"},
    ]
    again = plan(out, source("c.mp4"), source("a.mp4"), source("b.mp4"), source("aa.mp4"))
    assert again.added == 1
    assert again.table.to_pylist()[:3] == first.table.to_pylist()
    assert again.table.to_pylist()[3]["part"] == "p00002"
    assert plan(out, source("a.mp4")).added == 0
    assert plan(out, replace(source("a.mp4"), size=11)).changed == ["a.mp4"]


def test_a_driver_that_plans_in_between_is_not_planned_twice(tmp_path, monkeypatch):
    """The other driver writes its plan after this one looked for plan files, or just before this one writes."""
    read_plan, write_table = parts.read_plan, parts.write_table
    names = iter(["read.mp4", "write.mp4"])

    def other_driver():
        monkeypatch.undo()
        plan(out, source("a.mp4"), source(next(names)))

    def late_read(*arguments):
        other_driver()
        return read_plan(*arguments)

    def late_write(*arguments):
        other_driver()
        return write_table(*arguments)

    for name, late in (("read_plan", late_read), ("write_table", late_write)):
        out = Output(tmp_path / name)
        out.create()
        monkeypatch.setattr(parts, name, late)
        planned = plan(out, source("a.mp4"), source("b.mp4"))
        assert planned.table.to_pylist() == parts.read_plan(out).to_pylist()
        rows = [(row["part"], row["source"]) for row in planned.table.to_pylist()]
        assert sorted(name for _, name in rows) == sorted(["a.mp4", "b.mp4", name.split("_")[0] + ".mp4"])
        assert len({part for part, _ in rows}) == 2


def test_same_names_in_other_folders_get_distinct_clip_names(tmp_path):
    out = Output(tmp_path)
    out.create()
    table = plan(out, *[source(f"id{n}/00001.mp4") for n in range(50)]).table
    assert len(set(table["name"].to_pylist())) == 50


def test_withdrawn_sources_are_not_planned_again(tmp_path):
    out = Output(tmp_path)
    out.create()
    withdraw(out, sources=["a.mp4"], subject="id7")
    planned = plan(out, source("a.mp4"), source("b.mp4"), source("c.mp4", subject="id7"))
    assert planned.table["source"].to_pylist() == ["b.mp4"]
    assert (planned.added, planned.withdrawn) == (1, 2)


def test_roots_give_equal_names_different_keys(tmp_path):
    out = Output(tmp_path)
    out.create()
    found = [
        ListedSource(source("a.mp4"), input_manifest(), root, prefix)
        for root, prefix in (("A", ""), ("B", "B//"))
    ]
    rows = extend_plan(out, found, RECIPE).table.to_pylist()
    assert [(row["root"], row["source"], row["path"]) for row in rows] == [
        ("B", "B//a.mp4", b"a.mp4"),
        ("A", "a.mp4", b"a.mp4"),
    ]
    assert rows[0]["name"] == rows[1]["name"] == "a"
    assert key_hash(rows[0]["source_key"]) != key_hash(rows[1]["source_key"])
