import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from trainer.parity.run import run_folder


@pytest.fixture
def folder(parity_folder: Path, tmp_path: Path) -> Path:
    """A parity folder with the sizes and no cases."""
    (tmp_path / "golden").mkdir()
    shutil.copy(parity_folder / "tiny_layout.json", tmp_path)
    return tmp_path


def add(folder: Path, source: Path, name: str, new_name: str | None = None) -> Path:
    for path in (source / "golden").glob(f"{name}*"):
        if path.stem in (name, f"{name}_grad_norms"):
            shutil.copy(path, folder / "golden" / path.name.replace(name, new_name or name))
    for path in (folder / "golden").iterdir():
        path.chmod(0o644)
    return folder / "golden" / f"{new_name or name}.safetensors"


def run(folder: Path) -> tuple[bool, dict[str, str]]:
    lines: list[str] = []
    held = run_folder(folder, lines.append)
    return held, {line.split()[1]: line for line in lines[:-1]}


def test_all_stored_cases_hold(parity_folder: Path) -> None:
    held, lines = run(parity_folder)
    assert held, "\n".join(lines.values())
    assert [name for name, line in lines.items() if line.startswith("skip")] == ["h_random_params"]
    cases = {path.stem for path in (parity_folder / "golden").glob("*.json") if "grad_norms" not in path.stem}
    assert cases <= lines.keys()


def test_the_first_words_of_a_name_are_the_kind_of_case(folder: Path, parity_folder: Path) -> None:
    add(folder, parity_folder, "n_add_noise", "n_add_noise_other_b7")
    edit(folder / "tiny_layout.json", lambda layout: layout.update(rule_checks={}))
    assert run(folder / "golden")[0]


DAMAGED = {
    "f_temporal_output": ("y", 1e-3),
    "f_temporal_nan": ("y_f32", float("nan")),
    "f_temporal_input": ("x", 1e-2),
    "n_add_noise_inf": ("alphas_cumprod_train", float("inf")),
    "a_driven_encoder_512": ("out", 5e-3),
    "g_clip": ("post_layernorm", 1e-3),
    "h_crops": ("move_face_out", 0.5),
    "p_preprocess_train": ("clip_pixel_values", 1e-3),
}


def test_damaged_cases_fail_each_for_its_reason(folder: Path, parity_folder: Path) -> None:
    for name, (tensor, change) in DAMAGED.items():
        original = next(o for o in ("f_temporal", "n_add_noise", name) if name.startswith(o))
        path = add(folder, parity_folder, original, name)
        tensors = load_file(path)
        values = tensors[tensor].flatten()
        values[values.argsort()[len(values) // 2]] += change  # neither minimum nor maximum, which are stated
        save_file(tensors, path)

    path = add(folder, parity_folder, "f_temporal", "f_temporal_lacking")
    save_file({name: t for name, t in load_file(path).items() if name != "y"}, path)
    path = add(folder, parity_folder, "f_temporal", "f_temporal_extra")
    save_file(load_file(path) | {"extra": torch.zeros(1)}, path)
    path = add(folder, parity_folder, "f_temporal", "f_temporal_short")
    path.write_bytes(path.read_bytes()[:1000])
    add(folder, parity_folder, "f_temporal", "f_temporal_gone").unlink()
    add(folder, parity_folder, "n_add_noise", "q_quantum")

    path = add(folder, parity_folder, "n_add_noise", "n_add_noise_unread")
    save_file(load_file(path) | {"z": torch.zeros(2)}, path)
    edit(path.with_suffix(".json"), lambda info: info["tensors"].update(z={"shape": [2], "dtype": "float32"}))

    gradient = "unet.up_blocks.2.motion_modules.1.temporal_transformer.proj_out.weight"
    path = add(folder, parity_folder, "d_train_b1")
    norms = path.with_name("d_train_b1_grad_norms.json")
    edit(
        norms,
        lambda stored: stored["grad_l2_norm"].update({gradient: 1.002 * stored["grad_l2_norm"][gradient]}),
    )
    add(folder, parity_folder, "d_train_b1", "d_train_b2")
    (folder / "golden" / "d_train_b2_grad_norms.json").unlink()

    path = add(folder, parity_folder, "h_apply_transforms")
    tensors = load_file(path)
    tensors["out.1"] = tensors["out.1"].roll(4, dims=-1)
    save_file(tensors, path)

    held, lines = run(folder)
    assert not held
    for name, line in lines.items():
        assert line.startswith("ok" if name == "weights_rule" else "FAIL"), line
    for name, reason in {
        "f_temporal_nan": "not finite",
        "f_temporal_lacking": "differ in y",
        "f_temporal_extra": "differ in extra",
        "f_temporal_gone": "f_temporal_gone.safetensors is missing",
        "q_quantum": "unknown kind",
        "n_add_noise_unread": "not compared: z",
        "d_train_b1": gradient,
        "d_train_b2": "d_train_b2_grad_norms.json is missing",
        "h_apply_transforms": "out.1 centre of width",
    }.items():
        assert reason in lines[name], lines[name]


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    stored = json.loads(path.read_text())
    change(stored)
    path.write_text(json.dumps(stored))


def test_a_folder_without_cases_is_an_error(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no cases"):
        run(folder)
