"""What tests of several folders of the trainer share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import SHARED

SPEC = SHARED / "spec" / "parity"


@pytest.fixture(scope="session")
def parity_folder() -> Path:
    """Stored cases of the published model."""
    if not SPEC.is_dir():
        pytest.skip(f"{SPEC} is absent: the stored cases of the published model are not part of this project")
    return SPEC
