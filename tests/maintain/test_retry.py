"""Failure rows hold the measured value; `retry` repeats what can succeed; exit codes."""

from __future__ import annotations

import shutil

import pytest

from datagen.common.errors import UserError
from datagen.maintain.retry import plan_retry
from datagen.output.failures import read_failures
from datagen.output.paths import Output
from datagen.pipeline.retries import read_retries
from datagen.shards import Dataset
from tests.end_to_end.people import BROKEN, NAMES, bytes_of, call, rows

pytestmark = pytest.mark.usefixtures("in_process")


@pytest.fixture
def out(plain_output, tmp_path):
    return shutil.copytree(plain_output, tmp_path / "out")


@pytest.fixture
def mended(out, people_set, tmp_path):
    """A copy of the footage in which the broken file is replaced by a good one."""
    found = people_set.copy(tmp_path / "mended")
    shutil.copy(found.video(1), found.footage / BROKEN)
    call("curate", out, "--root", found.footage)
    return found


def test_a_refusal_by_a_gate_records_its_value_and_is_not_retried(people_set, tmp_path):
    few = people_set.copy(tmp_path / "few")
    for name in NAMES[1:]:
        shutil.rmtree(few.footage / name)
    out = tmp_path / "out"
    done = call("run", *few.words("plain.yaml"), "--set", "gates.min_luma=250", "--output", out, code=1)
    assert "has no usable clip" in done.stderr and "too_dark 1" in done.stderr
    (row,) = read_failures(out).to_pylist()
    assert (row["reason"], row["measure"], row["limit"]) == ("too_dark", "luma", 250)
    assert 20 < row["value"] < 250
    done = call("retry", out, code=1)
    assert "another try cannot change too_dark 1" in done.stderr
    assert not read_retries(Output(out))
    (again,) = plan_retry(Output(out), ["too_dark"])
    assert again.parts == {"p00000": [f"{NAMES[0]}/talk-0.mp4"]}
    with pytest.raises(UserError, match="not a failure reason"):
        plan_retry(Output(out), ["dark"])


@pytest.mark.parametrize(("share", "code"), [(0.5, 0), (0.2, 0), (0.1, 3)])
def test_the_exit_code_follows_the_share_of_failed_sources(out, people_set, share, code):
    line = ["run", *people_set.words("plain.yaml"), "--output", out, "--max-failed", share]
    done = call(*line, code=code)
    assert ("1 of 5 sources failed" in done.stdout) == bool(code)


def test_a_killed_or_repeated_retry_makes_each_clip_once(out, mended):
    before = bytes_of(out)
    first = plan_retry(Output(out), [])  # as after a kill at this point
    assert plan_retry(Output(out), []) == first
    call("retry", out)
    assert len(rows(out)) == 5 == len({row["clip_id"] for row in rows(out)})
    assert [row["unit"] for row in rows(out) if row["source"] == BROKEN] == ["p00001-r1-u00"]
    assert before.items() <= bytes_of(out).items(), "published files stay"
    assert read_failures(out).num_rows == 0
    assert "nothing to try again" in call("retry", out, code=1).stderr
    call("verify", out)


def test_an_interrupted_retry_gives_the_same_bytes(out, mended, tmp_path):
    other = shutil.copytree(out, tmp_path / "other")
    call("retry", out)
    plan_retry(Output(other), [])
    call("curate", other)  # as after a stop at this point; any command continues
    call("run", *mended.words("plain.yaml"), "--output", other)
    assert bytes_of(out) == bytes_of(other)
    assert set(Dataset(out).table["source"].to_pylist()) > {BROKEN}
