"""Owners of files: processes of this machine, of other containers, and dead ones."""

from __future__ import annotations

import subprocess
import sys

from datagen.common.owner import is_alive, owner_id
from datagen.output.paths import Output


def test_an_owner_is_alive_until_its_process_ends(output: Output) -> None:
    place, pid, start = owner_id().split("~")
    assert is_alive(owner_id(), output.root)
    assert not is_alive(f"{place}~{pid}~{int(start) - 1}", output.root), (
        "a later process with the same number"
    )
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert not is_alive(f"{place}~{child.pid}~{start}", output.root)
    assert (
        not is_alive("", output.root)
        and not is_alive("a~b", output.root)
        and not is_alive("a~b~c", output.root)
    )
