"""The `weights` command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from datagen.common.errors import UserError
from tests.trainer.checkpoints.made import equal, filled
from tests.weights.made import BODY, DIGEST, entry
from trainer.checkpoints.folder import load_info, load_state
from trainer.commands.weights import app
from trainer.model.state_dict import strip_prefix


def test_fetch_verify_and_list(
    hub: Any, register: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(entry())
    where = hub.add("org/thing", "sub/model.bin", BODY)
    monkeypatch.setenv("MEGACTOR_DATAGEN_CACHE", str(tmp_path))
    runner = CliRunner()
    assert runner.invoke(app, ["fetch", "thing", "--endpoint", hub.url]).exit_code == 0
    assert "ok, pinned sha256" in runner.invoke(app, ["verify"]).stdout
    assert '"state": "fetched"' in runner.invoke(app, ["list", "--json"]).stdout
    assert DIGEST in runner.invoke(app, ["list", "thing"]).stdout
    (tmp_path / "thing/sub/model.bin").write_bytes(b"?" * len(BODY))
    found = runner.invoke(app, ["verify", "thing"])
    assert isinstance(found.exception, UserError) and f"expected {DIGEST}" in found.stdout
    runner.invoke(app, ["fetch", "thing", "--endpoint", hub.url, "--force"])
    assert runner.invoke(app, ["verify"]).exit_code == 0
    assert len(hub.ranges(where)) == 2


def test_the_list_has_shipped_networks_too(tmp_path: Path) -> None:
    listed = CliRunner().invoke(app, ["list", "--json", "--cache", str(tmp_path)]).stdout
    states = {row["state"] for row in json.loads(listed)}
    assert states == {"no", "shipped"}


def test_import_and_export_round_trip(published: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    first, second = str(tmp_path / "a"), str(tmp_path / "b")
    assert (
        runner.invoke(app, ["import", str(published), "--output", first, "--dtype", "float32"]).exit_code == 0
    )
    assert {t.dtype for t in load_state(tmp_path / "a").values()} == {torch.float32}
    exported = str(tmp_path / "out.ckpt")
    assert runner.invoke(app, ["export", first, "--layout", "megactor", "--output", exported]).exit_code == 0
    assert runner.invoke(app, ["import", "megactor", exported, "--output", second]).exit_code == 0
    assert equal(load_state(tmp_path / "a"), load_state(tmp_path / "b"))
    for wrong in (["import", "flux", exported], ["import", exported, "--dtype", "int8"]):
        result = runner.invoke(app, [*wrong, "--output", str(tmp_path / "c")])
        assert isinstance(result.exception, UserError) and result.exception.code == 2


def test_a_fetched_weight_is_named_instead_of_its_path(
    layout: dict[str, tuple[int, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEGACTOR_DATAGEN_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "usb" / "appearance_encoder"
    source.mkdir(parents=True)
    save_file(
        filled(strip_prefix(layout, "appearance_encoder.")), source / "diffusion_pytorch_model.safetensors"
    )
    (source / "config.json").write_text("{}")
    runner = CliRunner()
    fetch = ["fetch", "magicanimate-appearance", "--from", str(tmp_path / "usb"), "--allow-noncommercial"]
    assert runner.invoke(app, fetch).exit_code == 0
    command = ["import", "magicanimate-appearance", "--output", str(tmp_path / "ours")]
    assert runner.invoke(app, command).exit_code == 0
    assert load_info(tmp_path / "ours").origins["reference_net"].startswith("appearance-encoder")
