"""Why a clip, or one of its files, cannot be used."""

from __future__ import annotations


class MissingFileError(Exception):
    """A clip has no file with a required suffix."""


class DamagedFileError(Exception):
    """The bytes of a file are not those that were written."""


class StreamError(Exception):
    """A video stream does not hold the expected frames."""


class BadClipError(Exception):
    """A clip cannot be used; the message says why."""
