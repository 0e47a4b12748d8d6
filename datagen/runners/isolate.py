"""Call one function in a process of its own, so that a crash in a codec or a network costs only that call."""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict
from typing import Any

from datagen.common.errors import Refusal, UserError
from datagen.runners.processes import end_group, end_with_parent, ending, start_python


class Crashed(Exception):  # noqa: N818 - says what happened to the process
    """The process died before it returned; the message says by which signal or code."""


class TimedOut(Crashed):
    """The process took longer than it may and was ended; the message says after how many seconds."""


def call_isolated(function: str, payload: dict[str, Any], timeout_s: float | None = None) -> dict[str, Any]:
    """Run `module:function` on a JSON-able payload in a fresh Python process, which ends when this one does.

    Args:
        function: where to find it, such as `datagen.synthesise:isolated_clip`; takes and returns a dict.
        payload: its argument.
        timeout_s: the process is killed after so many seconds; None waits for ever.

    Raises:
        Crashed: the process was killed, ended by itself or raised something unexpected.
        TimedOut: it took too long.
        Refusal: raised by the function.
        UserError: raised by the function.
    """
    theirs, ours = os.pipe()
    try:
        process = start_python(
            "datagen.runners.isolate",
            [function, str(theirs)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[theirs],
        )
        try:
            printed, _ = process.communicate(json.dumps(payload).encode(), timeout_s)
        except subprocess.TimeoutExpired as error:
            raise TimedOut(f"took longer than {timeout_s:g} s") from error
        finally:
            end_group(process)
    finally:
        os.close(theirs)
        os.close(ours)
    if process.returncode:
        raise Crashed(ending(process.returncode))
    try:
        answer = json.loads(printed)
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
    faulthandler.enable()  # a crash leaves its stack in the log of the process that started this one
    threading.Thread(target=_leave_with_parent, args=(int(sys.argv[2]),), daemon=True).start()
    answer_to = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    module, _, name = sys.argv[1].partition(":")
    payload = json.load(sys.stdin)
    try:
        answer = {"result": getattr(importlib.import_module(module), name)(payload)}
    except Refusal as error:
        answer = {"refusal": asdict(error)}
    except UserError as error:
        answer = {"user_error": {"message": str(error), "code": error.code}}
    except Exception as error:  # the parent must hear of it, whatever it is
        answer = {"error": f"{type(error).__name__}: {error}"}
    with answer_to:
        json.dump(answer, answer_to)


def _leave_with_parent(pipe: int) -> None:
    os.read(pipe, 1)  # nothing is ever written: this returns when the other end is closed
    end_with_parent()


if __name__ == "__main__":
    main()
