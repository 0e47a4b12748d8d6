"""The Python interface: the same data set as by the command line, typed results, progress by callback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import datagen
from datagen import Pipeline, Progress, Recipe, RecipeChanges, UserError
from datagen.pipeline.door import manifest_or_paths
from tests.end_to_end.people import PeopleSet, bytes_of
from tests.support import ROOT


def test_public_names_are_all_there_and_in_the_docs() -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    for name in datagen.__all__:
        assert getattr(datagen, name) is not None
        assert f"`{name}" in page, name
    with pytest.raises(AttributeError, match="has no attribute 'Pipelines'"):
        datagen.Pipelines  # noqa: B018 - that is what is tested


def test_the_steps_make_what_the_command_makes(
    people_set: PeopleSet, plain_output: Path, tmp_path: Path, in_process: None
) -> None:
    seen: list[Progress] = []
    said: list[str] = []
    recipe = Recipe.load(people_set.folder / "plain.yaml")
    pipeline = Pipeline(recipe, runner="local", on_progress=seen.append, say=said.append)
    planned = pipeline.plan(people_set.folder / "people.yaml", tmp_path / "out")
    assert planned.added == 5
    curated = pipeline.curate(tmp_path / "out")
    made = pipeline.synthesise(str(tmp_path / "out"))
    assert bytes_of(tmp_path / "out") == bytes_of(plain_output)
    assert (curated.clips, curated.frames, curated.sources, curated.failed_sources) == (4, 40, 5, 1)
    assert (made.clips, made.sources, made.failed_sources, made.waiting) == (4, 5, 1, "")
    assert sum(made.left_out.values()) == 1 and made.exit_code(0.5) == 0 and made.exit_code(0.1) == 3
    assert [now.stage for now in seen if now.state == "finished"] == ["curate", "synthesise"]
    assert seen[0].done == 1 and seen[0].total == 5 and seen[-1].left_s is not None
    assert said == []


def test_an_output_is_continued_with_its_own_recipe_and_refuses_another(
    people_set: PeopleSet, plain_output: Path, in_process: None
) -> None:
    again = Pipeline(runner="local").run(people_set.folder / "people.yaml", plain_output)
    assert again.clips == 4
    with pytest.raises(UserError, match="another recipe: seed was 7, now 8"):
        Pipeline(RecipeChanges(values=("seed=8",)), runner="local").synthesise(plain_output)


def test_footage_is_a_manifest_or_paths(tmp_path: Path) -> None:
    (tmp_path / "set.yaml").write_text("name: x")
    assert manifest_or_paths("demo") == ("demo", [])
    assert manifest_or_paths(tmp_path / "set.yaml") == (str(tmp_path / "set.yaml"), [])
    assert manifest_or_paths(tmp_path) == (None, [tmp_path])
    assert manifest_or_paths([str(tmp_path), "b.mp4"]) == (None, [tmp_path, Path("b.mp4")])
    with pytest.raises(UserError, match="no-such-place"):
        Pipeline().run("no-such-place", tmp_path / "out")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"runner": "dask"}, "runner = 'dask': give 'local' or 'ray'"),
        ({"workers": -1}, "workers = -1: give a whole number from 1"),
        ({"workers": "2"}, "workers = '2'"),
        ({"recipe": "mine.yaml"}, "recipe = 'mine.yaml': give a Recipe"),
        ({"recipe": None}, "recipe = None"),
        ({"donors": ["a"]}, r"donors = \['a'\]: give a folder"),
        ({"say": "x"}, "say = 'x': give a function"),
    ],
)
def test_wrong_settings_are_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Pipeline(**settings)


@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        (("demo", "s3://bucket/x"), {}, "looks like an address"),
        (("demo", None), {}, "out = None"),
        (("demo", "FILE"), {}, "is a file; give a folder"),
        ((None, "out"), {}, "footage = None"),
        (([], "out"), {}, "give footage"),
        (("demo", "out"), {"limit": 0}, "limit = 0"),
        (("demo", "out"), {"accept_terms": [3]}, "accept_terms"),
        ((["nowhere.mp4"], "out"), {}, "footage nowhere.mp4 does not exist"),
    ],
)
def test_wrong_arguments_are_one_line(
    words: tuple[Any, Any],
    options: dict[str, Any],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("FILE").touch()
    with pytest.raises(UserError, match=message):
        Pipeline(runner="local").run(*words, **options)


def test_changes_take_texts() -> None:
    assert RecipeChanges("x.yaml", "seed=1").file == "x.yaml"
    with pytest.raises(UserError, match="file = 3"):
        RecipeChanges(3)  # type: ignore[arg-type]
