"""Names and messages as plain text: bytes that are no UTF-8 and control characters become visible escapes."""

from __future__ import annotations

import os
import re

_SURROGATE = re.compile("[\ud800-\udfff]")
# Control characters (C0, DEL, C1), line and paragraph separators, and those that turn the direction of writing.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def shown(name: str | os.PathLike[str]) -> str:
    """A file's name as text for rows and files: bytes that are no UTF-8 become hex escapes, all else stays."""
    return _SURROGATE.sub(_escape, os.fspath(name))


def plain(text: str, *, keep: str = "\n") -> str:
    """Text that is safe to print: what could steer a terminal is written as an escape, other Unicode stays.

    Args:
        keep: control characters that stay; `""` for one line or one cell of a table.
    """
    return _UNSAFE.sub(lambda found: found.group() if found.group() in keep else _escape(found), text)


def plain_json(text: str) -> str:
    """As `plain`, for JSON text: still JSON of the same value."""
    return _UNSAFE.sub(
        lambda found: found.group() if found.group() == "\n" else f"\\u{ord(found.group()):04x}", text
    )


def shortened(value: object, longest: int = 80) -> str:
    """`repr` of a value someone gave, cut where it is long; never fails."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deeply, or a number of thousands of digits
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= longest else f"{text[:longest]}... ({len(text)} characters)"


def _escape(found: re.Match[str]) -> str:
    character = found.group()
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
