import pytest

from datagen.common.errors import UserError
from datagen.recipe import Recipe, load_recipe, recipe_hash


def test_overrides_reach_nested_keys_and_change_the_hash():
    plain = load_recipe(None, [])
    changed = load_recipe(None, ["curate.size=256", "stylise.backends=[filter]"])
    assert changed.curate.size == 256
    assert changed.stylise.backends == ("filter",)
    assert recipe_hash(plain, {}) != recipe_hash(changed, {})
    assert recipe_hash(plain, {}) == recipe_hash(Recipe(), {})
    assert recipe_hash(plain, {"donor a.png": "1"}) != recipe_hash(plain, {})


def test_off_is_read_as_text():
    assert load_recipe(None, ["swap.backend=off"]).swap.backend == "off"


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("curate.sise=3", "did you mean 'size'"),
        ("swop.shape=1", "did you mean 'swap'"),
        ("swap.shape=7", "swap.shape = 7"),
        ("curate.min_frames=900", "curate.max_frames = 150 is below"),
        ("encode.streams=[swapped]", "must contain 'video'"),
        ("seed", "key.subkey=value"),
        ("seed.low=1", "seed"),
        ("curate.size=[", "not a YAML value"),
    ],
)
def test_bad_values_are_named_in_one_line(assignment, expected):
    with pytest.raises(UserError) as caught:
        load_recipe(None, [assignment])
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.code == 2


def test_a_file_merges_over_the_manifest(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("curate: {size: 256}\n")
    recipe = load_recipe(path, [], {"curate": {"max_upscale": 4.0}, "seed": 3})
    assert (recipe.curate.size, recipe.curate.max_upscale, recipe.seed) == (256, 4.0, 3)


@pytest.mark.parametrize("text", ["!!python/object/apply:os.system ['true']", "- a list", "a: [", "\x00"])
def test_hostile_yaml_is_an_error(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(UserError):
        load_recipe(path, [])
