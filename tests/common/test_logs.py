"""The log prints nothing by default, and plain or JSON lines on request."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from cli import app
from datagen.common.logs import LOGGERS


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Restore the loggers afterwards."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


def test_nothing_is_printed_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("datagen.pipeline").warning("unheard")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("words", [["--log-json", "weights", "list"], ["weights", "list", "--log-json"]])
def test_the_option_may_stand_anywhere(words: list[str]) -> None:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0
    assert logging.getLogger("trainer").level == logging.DEBUG


def test_json_lines_hold_the_error_too(capsys: pytest.CaptureFixture[str]) -> None:
    from datagen.common.logs import show_logs

    show_logs(as_json=True)
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("trainer.x").exception("step %d", 3)
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["logger"], line["message"]) == ("error", "trainer.x", "step 3")
    assert line["error"].endswith("ValueError: broken")
