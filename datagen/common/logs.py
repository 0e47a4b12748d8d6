"""Logs for developers: standard `logging` under `datagen` and `trainer`, quiet by default."""

from __future__ import annotations

import json
import logging
import sys

from datagen.common.text import plain

LOGGERS = ("datagen", "trainer")


class PlainLines(logging.Formatter):
    """Print one line for the user; control characters in it are escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of one record."""
        return plain(super().format(record))


class JsonLines(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, and `error` if there is a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of one record."""
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True)


def show_logs(*, as_json: bool) -> None:
    """Print the log of both packages to stderr.

    Programs that use the packages as libraries set up `logging` themselves and do not call this.
    """
    handler = logging.StreamHandler(sys.stderr)
    lines = PlainLines("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S")
    handler.setFormatter(JsonLines() if as_json else lines)
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
