"""Fixtures of other folders that the commands need."""

from __future__ import annotations

from tests.trainer.checkpoints.conftest import layout, published
from tests.weights.conftest import hub, register

__all__ = ["hub", "layout", "published", "register"]
