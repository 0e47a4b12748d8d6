from dataclasses import replace

from datagen.layout import Output
from datagen.manifest import input_manifest
from datagen.plan import extend_plan, read_plan
from datagen.recipe import load_recipe
from datagen.sources import Source

RECIPE = load_recipe(None, ["plan.sources_per_part=2", "split.val=0.3", "split.test=0.3"])


def source(name, subject=None, size=10):
    return Source(name, name.encode(), "", size, "1", subject)


def plan(out, *sources):
    return extend_plan(out, [(item, input_manifest()) for item in sources], RECIPE)


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


def test_same_names_in_other_folders_get_distinct_clip_names(tmp_path):
    out = Output(tmp_path)
    out.create()
    table = plan(out, *[source(f"id{n}/00001.mp4") for n in range(50)]).table
    assert len(set(table["name"].to_pylist())) == 50


def test_splits_never_divide_a_subject_or_a_file(tmp_path):
    out = Output(tmp_path)
    out.create()
    plan(out, *[source(f"{n:03d}.mp4", subject=f"s{n % 40}") for n in range(200)])
    plan(out, *[source(f"{n:03d}.mp4", subject=f"s{n % 40}") for n in range(200, 300)])
    rows = read_plan(out).to_pylist()
    by_subject = {}
    for row in rows:
        by_subject.setdefault(row["subject"], set()).add(row["split"])
    assert all(len(splits) == 1 for splits in by_subject.values())
    assert {row["split"] for row in rows} == {"train", "val", "test"}
