import pytest

import manifests
from datagen.errors import UserError
from datagen.manifest import Manifest, load_manifest, root_of


@pytest.mark.parametrize("name", sorted(manifests.bundled()))
def test_bundled_manifests_are_valid(name):
    manifest, _ = load_manifest(name)
    assert manifest.name == name
    manifest.check_terms([name])


def write(tmp_path, text):
    path = tmp_path / "set.yaml"
    path.write_text(text)
    return str(path)


def test_terms_are_asked_for_by_name(tmp_path):
    manifest, folder = load_manifest(write(tmp_path, "name: mine\nroot: .\nlicence: CC0\n"))
    with pytest.raises(UserError, match=r"no consent.*--accept-terms mine"):
        manifest.check_terms([])
    manifest.check_terms(["mine"])
    assert root_of(manifest, folder) == tmp_path


def test_forbidden_use_is_refused():
    manifest = Manifest(name="x", root=".", licence="research", consent="given", face_swap="forbidden")
    with pytest.raises(UserError, match="forbids face swapping"):
        manifest.check_terms([])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: a\nroot: .\nlicense: x\n", "did you mean 'licence'"),
        ("name: a\n", "give either root"),
        ("name: A b\nroot: .\n", "name"),
        ("name: a\nroot: .\nsubject: '(x)'\n", "group named subject"),
        ("name: !!python/name:os.system\n", "not plain YAML"),
    ],
)
def test_mistakes_are_named(tmp_path, text, expected):
    with pytest.raises(UserError) as caught:
        load_manifest(write(tmp_path, text))
    assert expected in str(caught.value)


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(UserError, match="did you mean 'demo'"):
        load_manifest("dmo")


def test_unset_variables_are_named(tmp_path, monkeypatch):
    monkeypatch.delenv("NOT_SET_ANYWHERE", raising=False)
    manifest, folder = load_manifest(write(tmp_path, "name: a\nroot: $NOT_SET_ANYWHERE/x\n"))
    with pytest.raises(UserError, match="unset variable"):
        root_of(manifest, folder)
