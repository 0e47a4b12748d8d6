"""Call one function in a process of its own, so that a crash in a codec or a network costs only that call."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from datagen.errors import Refusal, UserError

_ROOT = Path(__file__).resolve().parents[2]


class Crashed(Exception):  # noqa: N818 - says what happened to the process
    """The process died or was stopped before it returned; the message says by which signal, code or time."""


def call_isolated(function: str, payload: dict[str, Any], timeout_s: float | None = None) -> dict[str, Any]:
    """Run `module:function` on a JSON-able payload in a fresh Python process.

    Args:
        function: where to find it, such as `datagen.synthesise:isolated_clip`; takes and returns a dict.
        payload: its argument.
        timeout_s: the process is killed after so many seconds; None waits for ever.

    Raises:
        Crashed: the process was killed, ended by itself, raised something unexpected or took too long.
        Refusal: raised by the function.
        UserError: raised by the function.
    """
    path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    try:
        done = subprocess.run(
            [sys.executable, "-m", "datagen.runners.isolate", function],
            input=json.dumps(payload).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=timeout_s,
            env={**os.environ, "PYTHONPATH": path},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Crashed(f"stopped after {timeout_s:g} s") from error
    if done.returncode < 0:
        raise Crashed(f"killed by {signal.Signals(-done.returncode).name}")
    if done.returncode > 0:
        raise Crashed(f"ended with exit code {done.returncode}")
    try:
        answer = json.loads(done.stdout)
    except ValueError as error:
        raise Crashed("ended without an answer") from error
    if "refusal" in answer:
        raise Refusal(**answer["refusal"])
    if "user_error" in answer:
        raise UserError(**answer["user_error"])
    if "error" in answer:
        raise Crashed(answer["error"])
    return answer["result"]


def main() -> None:
    """Child side: payload from stdin, one JSON answer to stdout; what libraries print goes to stderr."""
    answer_to = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    module, _, name = sys.argv[1].partition(":")
    payload = json.load(sys.stdin)
    try:
        answer = {"result": getattr(importlib.import_module(module), name)(payload)}
    except Refusal as error:
        answer = {"refusal": {"reason": error.reason, "message": error.message, "hint": error.hint}}
    except UserError as error:
        answer = {"user_error": {"message": str(error), "code": error.code}}
    except Exception as error:  # the parent must hear of it, whatever it is
        answer = {"error": f"{type(error).__name__}: {error}"}
    with answer_to:
        json.dump(answer, answer_to)


if __name__ == "__main__":
    main()
