"""Child side of `isolate`: reads a pickled (function, arguments) from stdin, writes a pickled `Answer` to stdout."""

from __future__ import annotations

import faulthandler
import os
import pickle
import sys
import threading
import traceback

from datagen.common.errors import Refusal, UserError
from datagen.runners.isolate import Answer, Crashed
from datagen.runners.processes import kill_own_group


def main() -> None:
    """Serve one call; the argument is the number of the pipe that closes when the parent ends."""
    faulthandler.enable()  # a crash leaves its stack in the log of the parent
    threading.Thread(target=_end_with_parent, args=(int(sys.argv[1]),), daemon=True).start()
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what libraries print must not mix with the answer
        answers.write(_answer(sys.stdin.buffer.read()))


def _answer(request: bytes) -> bytes:
    try:
        function, arguments = pickle.loads(request)  # noqa: S301 - from the process that started this one
        return pickle.dumps(Answer(function(*arguments)))
    except (Refusal, UserError) as error:
        return pickle.dumps(Answer(error=error))
    except Exception as error:  # the parent must learn of it, whatever it is
        traceback.print_exc()
        return pickle.dumps(Answer(error=Crashed(f"{type(error).__name__}: {error}")))


def _end_with_parent(pipe: int) -> None:
    os.read(pipe, 1)  # nothing is ever written: this returns when the parent's end is closed
    kill_own_group()


if __name__ == "__main__":
    main()
