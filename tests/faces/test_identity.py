"""Missing packages of the identity network."""

from __future__ import annotations

import sys

import pytest

from datagen.common.errors import UserError
from datagen.faces import identity as identity_module


def test_missing_identity_weights_name_the_package(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("dlib")
    monkeypatch.setattr(identity_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install face_recognition_models"):
        identity_module.DlibIdentity()


def test_missing_dlib_names_the_package(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(UserError, match="pip install dlib-bin"):
        identity_module.DlibIdentity()
