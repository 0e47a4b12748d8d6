"""Exit codes of a run."""

from __future__ import annotations

import pytest

from datagen.pipeline.summary import exit_code


@pytest.mark.parametrize(
    ("sources", "failed", "clips", "max_failed", "code"),
    [
        (10, 0, 20, 0.5, 0),
        (10, 5, 5, 0.5, 0),
        (10, 6, 4, 0.5, 3),
        (10, 3, 7, 0.3, 0),
        (10, 1, 9, 0.0, 3),
        (10, 9, 1, 1.0, 0),
        (10, 10, 0, 1.0, 1),
        (10, 0, 0, 0.5, 1),
        (0, 0, 5, 0.5, 0),
        (0, 0, 0, 0.5, 1),
    ],
)
def test_exit_codes(sources: int, failed: int, clips: int, max_failed: float, code: int) -> None:
    assert exit_code(sources, failed, clips, max_failed) == code
