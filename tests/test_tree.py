"""Tests mirror the source tree."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support import ROOT

TESTS = ROOT / "tests"
FREE = {"end_to_end", "examples"}
"""Folders of tests that belong to no single file of the packages."""
TOPS = {"trainer", "docs"}
"""Folders of `tests/` that mirror a folder of the root; all others mirror one of `datagen/`."""


def source_of(test: Path) -> Path:
    """The file that a test file tests."""
    relative = test.relative_to(TESTS)
    folder = relative.parent if relative.parts[0] in TOPS else Path("datagen") / relative.parent
    return folder / test.name.removeprefix("test_")


def test_every_test_file_has_its_source_file() -> None:
    tests = [path for path in TESTS.rglob("test_*.py") if path.relative_to(TESTS).parts[0] not in FREE]
    sources = {source_of(test) for test in tests if test != Path(__file__)}
    lacking = {str(path) for path in sources if not (ROOT / path).is_file()}
    assert not lacking


@pytest.mark.parametrize("folder", ["datagen", "trainer", "docs"])
def test_the_code_imports_no_test(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        assert not imported(path) & {"tests", "benchmarks"}, path


def test_tests_import_no_benchmark_and_nothing_relative() -> None:
    for path in TESTS.rglob("*.py"):
        assert not imported(path) & {"benchmarks", ""}, path


def imported(path: Path) -> set[str]:
    """Top-level packages that a file imports; "" for relative imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("" if node.level else str(node.module).partition(".")[0])
    return found


def test_every_folder_of_tests_is_a_package() -> None:
    folders = {path.parent for path in TESTS.rglob("*.py")}
    assert all((folder / "__init__.py").is_file() for folder in folders)
