"""Temporary files: those of living processes stay, also of other containers on the same host."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from datagen.common import owner
from datagen.common.owner import owner_id
from datagen.output.paths import Output
from datagen.output.temporary import TOUCH_S, Heartbeat, temporary
from tests.support import environment, start_python

CONTAINER = """
import pathlib, sys
from datagen.output.paths import Output
from datagen.output.temporary import temporary
out = Output(pathlib.Path(sys.argv[1]))
path = temporary(out.tmp, "theirs")
path.write_text("at work")
print(path.name, flush=True)
sys.stdin.read()
"""


def test_the_same_process_number_in_another_container_is_another_owner(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file belongs to a process of another PID namespace, whose process numbers have no meaning here."""
    monkeypatch.setattr(owner, "_place", lambda: "a5a5a5a5a5a5")
    theirs = temporary(output.tmp, "theirs")
    theirs.write_text("at work")
    monkeypatch.undo()
    name = theirs.name.replace(f"~{os.getpid()}~", "~999999999~")
    theirs.rename(output.tmp / name)
    assert output.clear_stale_tmp() == 0
    old = time.time() - 90_000
    os.utime(output.tmp / name, (old, old))
    assert output.clear_stale_tmp() == 1


def test_files_of_a_living_process_in_another_pid_namespace_stay(output: Output) -> None:
    enter = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if (
        not shutil.which("unshare")
        or subprocess.run([*enter, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("needs the right to make a PID namespace")
    process = subprocess.Popen(
        [*enter, sys.executable, "-c", CONTAINER, output.root],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        name = process.stdout.readline().strip()
        assert name.split("~")[1] != owner_id().split("~")[0]
        assert output.clear_stale_tmp() == 0 and (output.tmp / name).exists()
    finally:
        process.communicate("")


def test_a_heartbeat_renews_the_times_of_its_files(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, theirs = temporary(output.tmp, "mine"), output.tmp / "theirs~elsewhere~1~1~0"
    mine.mkdir()
    theirs.touch()
    now, old = time.monotonic(), time.time() - 90_000
    monkeypatch.setattr("datagen.output.temporary.time", SimpleNamespace(monotonic=lambda: now))
    pulse = Heartbeat(output.tmp, (output.root / "not there",))
    for _ in range(2):
        for path in (mine, theirs):
            os.utime(path, (old, old))
        pulse()
        assert mine.stat().st_mtime > old + 80_000 and theirs.stat().st_mtime < old + 1
        now += TOUCH_S
    os.utime(mine, (old, old))
    pulse()
    os.utime(mine, (old, old))
    pulse()
    assert mine.stat().st_mtime < old + 1, "not at every beat"


def test_only_temporary_files_of_dead_processes_are_removed(output: Output) -> None:
    mine = temporary(output.tmp, "mine")
    mine.write_text("at work")
    code = (
        "import sys, pathlib; from datagen.output.temporary import temporary\n"
        "path = temporary(pathlib.Path(sys.argv[1]), 'theirs'); path.mkdir(); (path / 'x').write_text('x')\n"
        "print('ready', flush=True); sys.stdin.read()"
    )
    living = start_python(code, output.tmp)
    assert living.stdout and living.stdout.readline() == b"ready\n"
    theirs = next(path for path in output.tmp.iterdir() if path != mine)
    (output.tmp / "whatever").write_text("no owner")
    far = output.tmp / "far~other-host~1~1~0"
    far.write_text("x")
    assert output.clear_stale_tmp() == 1
    assert {mine, theirs, far} == set(output.tmp.iterdir())
    os.utime(far, (time.time() - 90_000,) * 2)
    living.kill()
    living.wait()
    assert output.clear_stale_tmp() == 2
    assert list(output.tmp.iterdir()) == [mine]
