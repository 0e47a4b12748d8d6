"""Hostile and malformed YAML is refused quickly, with one error line."""

import pytest

from datagen.common.config import MAX_DEPTH, load_yaml, read_yaml
from datagen.common.errors import UserError
from datagen.recipe import load_recipe

BOMB = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{p: *a{i - 1}, q: *a{i - 1}}}\n" for i in range(1, 29))
BRACKETS = "[" * 3000 + "]" * 3000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BOMB, "aliases (*name) are not allowed; write the value itself (line 2, column 13)"),
        ("curate: &a\n  size: *a\n", "aliases"),
        ("seed: &s 3\nplan: {sources_per_part: *s}\n", "aliases"),
        ("<<: *base\n", "aliases"),
        (f"seed: {BRACKETS}\n", f"nested deeper than {MAX_DEPTH} levels"),
        ("\n".join(f"{'  ' * n}k{n}:" for n in range(400)), "nested deeper"),
        ("seed: " + "9" * 6000, "not plain YAML"),
        ("x" * 300_000, "larger than"),
        ("seed: 2001-13-45", "not plain YAML"),
        ("? [a, b]\n: c\n", "not plain YAML"),
        ("{a: 1, b", "not plain YAML"),
    ],
)
def test_hostile_and_malformed_yaml_is_one_error_line(tmp_path, text, expected):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_yaml(path)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "assignment",
    [
        f"seed={BRACKETS}",
        "seed=" + "9" * 6000,
        "seed=0x" + "f" * 6000,
        "seed=" + "x" * 100_000,
        ".".join("a" * 3000) + "=1",
        "seed={" + ", ".join(f"k{n}: 1" for n in range(5000)) + "}",
        "curate={" + ", ".join(f"k{n}: 1" for n in range(5000)) + "}",
        "curate={1: 2}",
        "seed=\x1b[2J",
    ],
)
def test_assignments_of_any_size_give_one_short_error_line(assignment):
    with pytest.raises(UserError) as caught:
        load_recipe(None, [assignment])
    assert len(str(caught.value)) < 3000
    assert "\x1b" not in str(caught.value)


def test_many_mistakes_are_counted():
    with pytest.raises(UserError, match=r"and 12 more$"):
        load_recipe(None, [f"curate.key{n}=1" for n in range(20)])


def test_common_yaml_is_read():
    assert load_yaml("a: {b: [1, 2.5, null, true, x]}") == {"a": {"b": [1, 2.5, None, True, "x"]}}
    assert load_yaml("") is None
