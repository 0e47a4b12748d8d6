"""Commands on one output in any order, several at once, each of which may be killed at any step.

`MEGACTOR_STATE_EXAMPLES=500` runs more examples, other ones each time.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from datagen.common.errors import UserError
from datagen.output.paths import Output
from datagen.shards import Dataset
from tests.end_to_end import cheap, films, pausable
from tests.end_to_end.commands import COMMANDS, Place
from tests.end_to_end.fresh import check_as_fresh, check_as_frozen
from tests.end_to_end.invariants import (
    check_places,
    check_readers,
    check_splits,
    check_traces,
    check_verified,
    visible,
    withdrawn_of,
)

EXAMPLES = int(os.environ.get("MEGACTOR_STATE_EXAMPLES", "0"))
SUBJECTS = (None, None, "zqsanna", "zqsbert")
LETTERS = "ghjkmnpqrtuvwxyz"
HARMLESS = (
    "has no usable clip", "nothing to try again", "holds no finished unit", "no source ", "no subject ",
    "no donor ", "holds no data set", "no video found", "is an empty folder",
)  # fmt: skip
MAKING = ("plan", "curate", "curate", "synthesise", "synthesise", "run", "run")
MAINTAINING = ("retry", "retry", "remove", "remove", "remove", "compact", "purge", "purge")
REASONS = ([], [], ["damaged", "crashed"], ["changed"])
TALLY: Counter[str] = Counter()

any_film = st.builds(
    films.Film,
    token=st.just(""),
    person=st.sampled_from([None, 1, 1, 2, 3, 4, 5]),
    clips=st.integers(1, 5),
    score=st.sampled_from([None, 0.3, 0.5, 0.9]),
    footage=st.sampled_from([0, 0, 0, 1]),
    state=st.sampled_from([*["sound"] * 8, "broken", "fails", "kills", "plain"]),
)
PLACES = (
    *(
        "task",
        "made clip",
        "curated source",
        "sync out/failures",
        "link failures/",
        "link index/",
        "sync out/index",
    ),
    *(
        "link clips/",
        "link shards/",
        "link waves/",
        "link donors/",
        "link portraits/",
        "link retries/",
        "unlink",
    ),
    *(
        "sync out/withdrawn",
        "replace index/",
        "replace clips/",
        "replace plan/",
        "replace out/",
        "replace failures/",
    ),
)
steps = st.one_of(
    st.none(), st.none(), st.integers(1, 40), st.integers(40, 400),
    st.tuples(st.sampled_from(PLACES), st.integers(1, 3)),
)  # fmt: skip
"""How far a command runs before it pauses: to its end, some steps, or some steps of one kind."""


class Machine(RuleBasedStateMachine):
    """One output, its footage, and the commands that run on it."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="state-"))
        self.place = Place(Output(self.root / "out"), self.root / "films", None)
        self.out = self.place.out
        self.films: dict[str, films.Film] = {}
        self.contents: list[bytes] = []
        self.live: list[pausable.PausableCommand] = []
        self.everyone: list[pausable.PausableCommand] = []
        self.readers: list[tuple[Dataset, list[dict]]] = []
        self.undisturbed, self.stale_cards, self.sound = True, False, False
        self.checked: object = None
        self.purged: set[str] = set()
        self.beside_purge: set[pausable.PausableCommand] = set()

    @initialize(
        folder=st.booleans(),
        first=st.lists(st.tuples(any_film, st.sampled_from(SUBJECTS)), min_size=2, max_size=6),
    )
    def begin(self, folder, first):
        self.place.films.mkdir()
        if folder:
            self.place.donors = self.root / "donors"
            self.place.donors.mkdir()
            for number in (1, 80, 81, 82):
                token = f"zqb{LETTERS[number % 16] * 3}"
                (self.place.donors / f"{token}-{number}.png").write_bytes(films.png(number, token))
        for film, subject in first:
            self.add(film, subject)
        self.command("plan", None, None)

    @rule(
        data=st.data(),
        kind=st.sampled_from(["add", "add", "add", "change", "delete", "put back"]),
        film=any_film,
    )
    def footage(self, data, kind, film):
        if kind == "add":
            if len(self.films) < 14:
                self.add(film, data.draw(st.sampled_from(SUBJECTS)))
            return
        name = data.draw(st.sampled_from(sorted(self.films)))
        old = self.films[name]
        self.undisturbed = False
        if kind == "change":
            self.write(
                name,
                replace(old, clips=film.clips, score=film.score, state=film.state, version=old.version + 1),
            )
        elif kind == "put back":
            old.write(self.place.films / name)
        elif len(list(self.place.films.iterdir())) > 1:
            (self.place.films / name).unlink(missing_ok=True)

    @rule(name=st.sampled_from(MAKING), limit=st.sampled_from([None, None, 1, 3]), steps=steps)
    def make(self, name, limit, steps):
        self.command(name, limit, steps)

    @rule(data=st.data(), name=st.sampled_from(MAINTAINING), steps=steps)
    def maintain(self, data, name, steps):
        if name == "retry":
            self.undisturbed = False
            self.command("retry", data.draw(st.sampled_from(REASONS)), steps)
        elif name == "remove":
            if what := data.draw(st.sampled_from(["source", "source", "subject", "donor"])):
                named = self.named(what)
                if named:
                    self.undisturbed = False
                    self.command("remove", {what: data.draw(st.sampled_from(named))}, steps)
        else:
            self.command(name, None, steps)

    @rule()
    def open_reader(self):
        rows = visible(self.out)
        if rows:
            self.readers = [*self.readers[-1:], (Dataset(self.out.root), rows)]

    @precondition(lambda self: not self.live)
    @rule(data=st.data(), folder=st.sampled_from(["shards", "index", "failures", "clips"]))
    def damage_and_repair(self, data, folder):
        files = sorted(path for path in (self.out.root / folder).glob("*") if path.stat().st_size)
        if not files or not list(self.out.index.glob("*")):
            return
        path = data.draw(st.sampled_from(files))
        self.sound = False
        before = path.read_bytes()
        at = data.draw(st.integers(0, len(before) - 1))
        kind = data.draw(st.sampled_from(["flip", "cut", "gone" if folder == "shards" else "flip"]))
        if kind == "gone":
            path.unlink()
        else:
            path.write_bytes(before[:at] + (bytes([before[at] ^ 255]) + before[at + 1 :]) * (kind == "flip"))
        self.place.repair()
        if not path.exists() or path.read_bytes() != before:
            assert not self.undisturbed, f"{path.name} was not repaired as it was"
            check_or_restore(self.out, path, before)

    # commands that are paused

    @precondition(lambda self: self.live)
    @rule(data=st.data(), steps=steps)
    def go_on(self, data, steps):
        self.resume(data.draw(st.sampled_from(self.live)), steps)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def kill(self, data):
        running = data.draw(st.sampled_from(self.live))
        TALLY[f"killed {running.name}"] += 1
        running.kill()
        self.live.remove(running)
        self.stale_cards |= running.name in ("remove", "run", "synthesise", "retry", "purge")
        if running in self.beside_purge or running.name in ("remove", "purge"):
            self.purged = set()  # the next purge removes what it published meanwhile

    @invariant()
    def check_everything(self):
        self.sound = False
        TALLY["steps"] += 1
        stamp = (self.stamp(), len(self.live), [id(item) for item in self.readers])
        if stamp == self.checked:
            self.sound = True
            return
        forbidden = self.forbidden()
        check_verified(self.out)
        check_places(self.out)
        check_readers(self.out, self.readers, forbidden, cards=not self.live and not self.stale_cards)
        footages = {film.token: film.footage for film in self.films.values()}
        check_splits(self.out, {film.token: film.person for film in self.films.values()}, footages)
        if not self.beside_purge & set(self.live):
            check_traces(self.out, self.purged, tmp=False)
        self.checked, self.sound = stamp, True

    def teardown(self):
        try:
            if self.sound and any(self.place.films.iterdir()):
                self.finish()
            TALLY["examples"] += 1
        finally:
            os.rename(self.root, gone := self.root.with_name(self.root.name + "-gone"))
            for running in self.everyone:
                running.end()
            shutil.rmtree(gone)

    def finish(self):
        """Let all commands end and run again; then nothing may be pending."""
        for running in list(self.live):
            self.resume(running, None)
        for _ in range(3):
            self.command("run", None, None)
            if not check_places(self.out):
                break
        self.check_everything()
        assert check_places(self.out) == 0, "something is pending after a full run"
        if self.undisturbed:
            check_as_fresh(self.place, self.root / "fresh")
        check_as_frozen(self.place, self.root / "frozen", self.contents)

    # helpers, no rules

    def add(self, film, subject):
        number = len(self.films)
        token = f"zqf{LETTERS[number % 16]}{LETTERS[number // 16]}z"
        name = f"{subject}_{token}.mp4" if subject else f"{token}.mp4"
        self.write(
            name,
            films.Film(token, film.person, film.clips, film.score, film.footage or 100 + number, film.state),
        )

    def write(self, name, film):
        self.films[name] = film
        film.write(self.place.films / name)
        self.contents.append((self.place.films / name).read_bytes())

    def stamp(self):
        """Changes when a published file changes."""
        files = (path for path in self.out.root.rglob("*") if not path.is_relative_to(self.out.tmp))
        return {(path, (found := path.lstat()).st_mtime_ns, found.st_size, found.st_ino) for path in files}

    def named(self, what):
        """Sources, subjects or donors that can be withdrawn."""
        if what == "source":
            return sorted(self.films)
        if what == "subject":
            return sorted({name[:7] for name in self.films if name.startswith("zqs")})
        return sorted(
            {row["donor"] for row in visible(self.out) if row["donor"]} | self.place.portraits.keys()
        )

    def forbidden(self):
        """Names of everybody and everything withdrawn so far."""
        withdrawn = withdrawn_of(self.out)
        found = {
            self.films[name].token
            for name in self.films
            if withdrawn.covers(name, name[:7] if "_" in name else None)
        }
        found |= {subject for subject in SUBJECTS if subject and withdrawn.covers(None, subject)}
        return found | {
            name for name, sha256 in self.place.portraits.items() if sha256 in withdrawn.portraits
        }

    def command(self, name, argument, steps):
        if len(self.live) >= 3 or (steps is not None and len(self.live) >= 2):
            return
        TALLY[name] += 1
        running = pausable.PausableCommand(name, lambda: COMMANDS[name](self.place, argument))
        running.forbidden = self.forbidden()
        self.live.append(running)
        self.everyone.append(running)
        self.resume(running, steps)

    def resume(self, running, steps):
        self.sound = False
        at, count = steps if isinstance(steps, tuple) else ("", float("inf") if steps is None else steps)
        if not running.resume(count, at):
            return
        self.live.remove(running)
        if running.error is not None:
            if not isinstance(running.error, UserError) or not any(
                text in str(running.error) for text in HARMLESS
            ):
                raise running.error
        elif running.name in ("run", "synthesise", "retry", "remove", "purge"):
            self.stale_cards = False
        if running.name == "purge" and running.error is None:
            self.purged = running.forbidden
            self.beside_purge = set(self.live)
            if not self.live:
                check_traces(self.out, self.purged, tmp=True)


def check_or_restore(out, path, before):
    """A unit whose source has changed cannot be made again and stays damaged; then the test restores it."""
    try:
        check_verified(out)
        check_places(out)
    except (AssertionError, UserError):
        path.write_bytes(before)
        TALLY["beyond repair"] += 1


def test_any_order_of_commands(monkeypatch):
    pausable.install(monkeypatch)
    cheap.install(monkeypatch)
    bounded = settings(
        max_examples=EXAMPLES or 25,
        stateful_step_count=20,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink] if EXAMPLES else [Phase.generate],
        print_blob=False,
    )
    TALLY.clear()
    try:
        run_state_machine_as_test(Machine, settings=bounded)
    finally:
        print(dict(TALLY))
