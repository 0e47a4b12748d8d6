"""The base install: what it can import, and the message of a command that needs an extra."""

from __future__ import annotations

import subprocess
import sys

import pytest

from datagen.common.errors import UserError
from datagen.common.extras import needs_extra

# Run in a fresh interpreter in which what the base install does not bring cannot be imported.
BASE_ONLY = """
import sys
for name in ("torch", "diffusers", "transformers", "accelerate", "tensorboard", "insightface", "huggingface_hub",
             "httpx2", "webdataset", "datasets", "mlcroissant", "tflite", "ai_edge_litert"):
    sys.modules[name] = None
"""
IMPORT_ALL = """
import importlib, pkgutil
import cli, datagen
beyond = ("datagen.faces.mediapipe.convert.tflite_to_onnx", "datagen.weights.download")
for module in pkgutil.walk_packages(datagen.__path__, "datagen."):
    if module.name not in beyond:
        importlib.import_module(module.name)
"""
COMMAND = "import cli\ncli.main()"


def base_only(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BASE_ONLY + script, *arguments], capture_output=True, text=True, check=False
    )


def test_the_pipeline_imports_nothing_beyond_the_base_install() -> None:
    done = base_only(IMPORT_ALL)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "purpose"),
    [
        (("train", "tiny-image", "--data", "set", "--output", "run"), "training"),
        (("precompute", "set", "--vae", "vae", "--clip", "clip"), "precomputing latents"),
        (("weights", "import", "sd15", "--output", "start"), "importing weights"),
        (("weights", "export", "run", "--output", "ours.ckpt"), "exporting weights"),
        (("weights", "fetch", "sd15", "--cache", "{tmp}"), "downloading weights"),
    ],
)
def test_a_command_whose_extra_is_missing_says_which_in_one_line(
    arguments: tuple[str, ...], purpose: str, tmp_path: object
) -> None:
    done = base_only(COMMAND, *(text.format(tmp=tmp_path) for text in arguments))
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {purpose} needs ")
    assert done.stderr.endswith(", which is not installed: pip install 'megactor-datagen[train]'\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["train", "precompute", "weights"])
def test_help_needs_no_extra(command: str) -> None:
    done = base_only(COMMAND, command, "--help")
    assert done.returncode == 0 and "Usage" in done.stdout


def test_a_missing_module_of_this_project_is_a_bug_and_stays_one() -> None:
    with pytest.raises(ModuleNotFoundError), needs_extra("train", "training"):
        import trainer.no_such_module  # noqa: F401
    with pytest.raises(UserError, match="training needs no_such_package, which is not installed"):
        with needs_extra("train", "training"):
            import no_such_package  # noqa: F401
