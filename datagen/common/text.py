"""Names and messages as plain text: bytes that are not UTF-8 and control characters become visible escapes."""

from __future__ import annotations

import os
import re

_SURROGATE = re.compile("[\ud800-\udfff]")
# Control characters (C0, DEL, C1), line and paragraph separators, and characters that change the text direction.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def shown(name: str | os.PathLike[str]) -> str:
    """A file name as text for rows and files: bytes that are not UTF-8 become hex escapes, the rest stays."""
    return _SURROGATE.sub(_escape, os.fspath(name))


def plain(text: str, *, keep: str = "\n") -> str:
    """Text that is safe to print: characters that could control a terminal are escaped, other Unicode stays.

    Args:
        keep: control characters that stay; use `""` for text that must fit one line or table cell.
    """
    return _UNSAFE.sub(lambda found: found.group() if found.group() in keep else _escape(found), text)


def plain_json(text: str) -> str:
    """Like `plain`, for JSON text: the result is JSON with the same value."""
    return _UNSAFE.sub(
        lambda found: found.group() if found.group() == "\n" else f"\\u{ord(found.group()):04x}", text
    )


def shortened(value: object, longest: int = 80) -> str:
    """`repr` of a user's value, cut if it is long; never fails."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deeply, or a number of thousands of digits
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= longest else f"{text[:longest]}... ({len(text)} characters)"


def _escape(found: re.Match[str]) -> str:
    character = found.group()
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python stores a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
