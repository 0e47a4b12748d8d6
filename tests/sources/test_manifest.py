import pytest

import manifests
from datagen.common.errors import UserError
from datagen.sources.manifest import Manifest, input_manifest, load_manifest, root_of


@pytest.mark.parametrize("name", sorted(manifests.bundled()))
def test_bundled_manifests_are_valid(name):
    manifest, _ = load_manifest(name)
    assert manifest.name == name
    manifest.check_terms([])


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


STATED = {"licence": "research", "consent": "given"}


@pytest.mark.parametrize(
    ("terms", "problem", "sharing"),
    [
        ({"derivatives": "allowed"}, None, "unstated"),
        ({"derivatives": "allowed", "sharing": "allowed"}, None, "allowed"),
        ({"derivatives": "allowed", "sharing": "same-licence"}, None, "same-licence"),
        ({"derivatives": "private", "sharing": "allowed"}, None, "forbidden"),
        ({}, "does not state whether faces may be swapped", "unstated"),
        ({"sharing": "forbidden"}, "does not state", "forbidden"),
        ({"derivatives": "forbidden", "sharing": "allowed"}, "forbids derived faces", "forbidden"),
        (
            {"derivatives": "allowed", "sharing": "allowed", "covers": "annotations"},
            "states terms of its annotations",
            "unstated",
        ),
        ({"derivatives": "allowed", "consent": " "}, "states no consent", "unstated"),
    ],
)
def test_terms_decide_whether_a_run_begins_and_what_its_rows_state(terms, problem, sharing):
    manifest = Manifest(name="x", root=".", terms={**STATED, **terms})
    if problem is None:
        manifest.check_terms([])
    else:
        with pytest.raises(UserError, match=f"{problem}.*--accept-terms x"):
            manifest.check_terms([])
    manifest.check_terms(["x"])
    licence, _, rights = manifest.rights()
    assert rights == sharing
    assert licence == ("unstated" if terms.get("covers") == "annotations" else "research")


@pytest.mark.parametrize("face_swap", ["allowed", "forbidden", "unstated", None])
def test_short_keys_of_a_manifest_mean_the_same(face_swap):
    manifest = Manifest(name="x", root=".", face_swap=face_swap, **STATED)
    assert manifest.rights()[:2] == ("research", "given")
    if face_swap == "allowed":
        manifest.check_terms([])
    else:
        with pytest.raises(UserError, match=r"forbids|does not state"):
            manifest.check_terms([])


def test_footage_without_a_manifest_has_unstated_terms():
    assert input_manifest().rights() == ("unstated", "unstated", "unstated")
    assert input_manifest().credit_of("a.mp4") is None


def test_credit_is_filled_in_from_the_path():
    manifest = Manifest(
        name="x",
        root=".",
        group=r"/(?P<group>[^/]+)_\d+\.mp4$",
        subject=r"^(?P<subject>id\d+)/",
        terms={**STATED, "credit": "{group} ({subject}), see {source}"},
    )
    assert manifest.credit_of("id7/abc_01.mp4") == "abc (id7), see id7/abc_01.mp4"
    assert manifest.credit_of("odd.mp4") == "unknown (unknown), see odd.mp4"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: a\nroot: .\nlicense: x\n", "did you mean 'licence'"),
        ("name: a\n", "give either root"),
        ("name: A b\nroot: .\n", "name"),
        ("name: a\nroot: .\nsubject: '(x)'\n", "group named subject"),
        ("name: a\nroot: .\ngroup: '(x)'\n", "group named group"),
        ("name: a\nroot: .\nterms: {license: x}\n", "did you mean 'licence'"),
        ("name: a\nroot: .\nterms: {licence: x}\nlicence: y\n", "licence given next to terms"),
        ("name: a\nroot: .\nterms: {credit: 'by {who}'}\n", "{who}, which is not known"),
        ("name: a\nroot: .\nterms: {sharing: perhaps}\n", "terms.sharing = 'perhaps'"),
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
