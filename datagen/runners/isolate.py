"""Call one function in a process of its own, so that a crash in a codec or a network fails only that call."""

from __future__ import annotations

import os
import pickle
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, TypeVarTuple

from datagen.common.errors import Refusal, UserError
from datagen.runners.processes import describe_exit, kill_group, start_python

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")


class Crashed(Exception):  # noqa: N818 - says what happened to the process
    """The process died before the function returned; the message says by which signal, exit code or exception."""


class TimedOut(Crashed):
    """The process took longer than it may and was killed; the message says after how many seconds."""


@dataclass(frozen=True)
class Answer:
    """What the child sends back: the function's result, or the error to raise in the parent."""

    value: Any = None
    error: Refusal | UserError | Crashed | None = None


def call_isolated(
    function: Callable[[*Arguments], Result], *arguments: *Arguments, timeout_s: float | None = None
) -> Result:
    """Run `function(*arguments)` in a fresh Python process, which is killed when this one ends.

    Function and arguments travel as a pickle through a pipe, and so does the result. The child never imports the
    `__main__` of this process, so the call works the same from a script, a notebook, pytest and a Ray worker.
    What the child prints, also to stdout, goes to the stderr of this process.

    Args:
        function: defined at the top level of a module that the child can import.
        arguments: the function's arguments; picklable.
        timeout_s: the process is killed after so many seconds; None waits without limit.

    Raises:
        Crashed: the process was killed, ended by itself, or the function raised an unexpected exception.
        TimedOut: it took too long.
        Refusal: raised by the function.
        UserError: raised by the function.
        ValueError: the function is defined in `__main__`.
    """
    if getattr(function, "__module__", None) == "__main__":
        raise ValueError(
            f"{function} is defined in __main__, which the child does not import; move it to a module"
        )
    request = pickle.dumps((function, arguments))
    read_end, write_end = os.pipe()
    try:
        process = start_python(
            "datagen.runners.isolate_child",
            [str(read_end)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[read_end],
        )
        try:
            printed, _ = process.communicate(request, timeout_s)
        except subprocess.TimeoutExpired as error:
            raise TimedOut(f"took longer than {timeout_s:g} s") from error
        finally:
            kill_group(process)
    finally:
        os.close(read_end)
        os.close(write_end)
    if process.returncode:
        raise Crashed(describe_exit(process.returncode))
    try:
        answer: Answer = pickle.loads(printed)  # noqa: S301 - from the process started above
    except (EOFError, pickle.UnpicklingError) as error:
        raise Crashed("ended without an answer") from error
    if answer.error is not None:
        raise answer.error
    return answer.value
