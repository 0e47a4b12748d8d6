"""Progress of a run: a bar on a terminal, else a line every 10 s, and `logs/status.json` for other programs."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any

from tqdm import tqdm

from datagen.common.owner import owner_id
from datagen.output.paths import Output
from datagen.output.publish import replace
from datagen.runners.supervise import WorkerStatus
from datagen.runners.tasks import Report, Task

logger = logging.getLogger(__name__)

LINE_S = 10.0
STATUS_S = 1.0
RENEW_S = 10.0  # the status file is renewed even if no task ends, to show that the driver runs


@dataclass(frozen=True)
class Progress:
    """Progress of a stage.

    Attributes:
        stage: `curate`, `donors`, `synthesise` or `repair`.
        state: `running`, `finished`, `interrupted` or `failed`.
        done, total: number of tasks, including those of earlier runs.
        unit: word for one task.
        tasks_failed: number of tasks that could not be done.
        totals: sums of what the tasks reported: `clips`, `failed`, `frames` ...
        elapsed_s: seconds since the stage began.
        left_s: estimated seconds left; None before the first task has ended.
        workers_busy: number of workers that have a task.
    """

    stage: str
    state: str
    done: int
    total: int
    unit: str
    tasks_failed: int
    totals: Report
    elapsed_s: float
    left_s: float | None
    workers_busy: int


OnProgress = Callable[[Progress], None]


class RunProgress:
    """Sums up task reports and shows them. A context manager; the runners call it with each report.

    Attributes:
        totals: sums of all reports: `clips`, `failed`, `frames`, `seconds` per operation ...
        failures: tasks that could not be done, with their reports.
    """

    def __init__(
        self,
        output: Output,
        stage: str,
        total: int,
        *,
        unit: str = "unit",
        done: int = 0,
        on_progress: OnProgress | None = None,
    ) -> None:
        """Start counting.

        Args:
            output: its `logs/status.json` is kept up to date.
            stage: `curate`, `donors` or `synthesise`.
            total: number of tasks of the whole run, including those that earlier runs finished.
            unit: word for one task.
            done: number of tasks that earlier runs finished.
            on_progress: called at every change; nothing is printed then.
        """
        self.totals: Report = {}
        self.failures: list[tuple[Task, Report]] = []
        self._output = output
        self._stage = stage
        self._unit = unit
        self._total = total
        self._before = self._done = done
        self._began = time.monotonic()
        self._ended: float | None = None
        self._line_at = self._began + LINE_S
        self._printed = 0
        self._saved_at = -RENEW_S
        self._doing: Sequence[WorkerStatus] = ()
        self._owner = owner_id()
        self._on_progress = on_progress
        self._bar: tqdm[Any] | None = None
        if on_progress is None and sys.stderr.isatty():
            self._bar = tqdm(total=total, initial=done, desc=stage, unit=unit, file=sys.stderr, smoothing=0.1)

    def __enter__(self) -> RunProgress:
        if self._bar is None and self._on_progress is None and self._done < self._total:
            self.say(f"{self._stage}: {self._done}/{self._total} {self._unit}s done")
        self._save("running")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = time.monotonic()
        self._doing = ()
        if self._bar is not None:
            self._bar.close()
        elif self._done > max(self._before, self._printed):
            self._print()
        if kind is None:
            self._save("finished")
        else:
            self._save("interrupted" if kind is KeyboardInterrupt else "failed")

    def __call__(self, task: Task, report: Report) -> None:
        """Count one task that has ended."""
        self._done += 1
        if "reason" in report:
            self.failures.append((task, report))
        else:
            add_up(self.totals, report)
        if self._bar is not None:
            self._bar.set_postfix_str(self._counts(), refresh=False)
            self._bar.update()
        elif time.monotonic() >= self._line_at:
            self._print()
        if self._on_progress is not None:
            self._on_progress(self.now("running"))
        if time.monotonic() - self._saved_at >= STATUS_S:
            self._save("running")

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start; after the end, the total time."""
        return (self._ended or time.monotonic()) - self._began

    def waiting(self, doing: Sequence[WorkerStatus]) -> None:
        """Note the current tasks of the workers, and renew the status file even if no task ends."""
        silent = [worker.worker for worker in doing if worker.silent_s]
        news = silent != [worker.worker for worker in self._doing if worker.silent_s]
        self._doing = doing
        if news or time.monotonic() - self._saved_at >= RENEW_S:
            self._save("running")

    def say(self, text: str) -> None:
        """Show one line to the user."""
        if self._on_progress is not None:
            logger.info(text)
        elif self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr, flush=True)

    def now(self, state: str) -> Progress:
        """The current progress."""
        new = self._done - self._before
        elapsed_s = self.elapsed_s
        return Progress(
            stage=self._stage,
            state=state,
            done=self._done,
            total=self._total,
            unit=self._unit,
            tasks_failed=len(self.failures),
            totals=dict(self.totals),
            elapsed_s=elapsed_s,
            left_s=elapsed_s / new * (self._total - self._done) if new else None,
            workers_busy=len(self._doing),
        )

    def status(self, state: str) -> dict[str, Any]:
        """Contents of `status.json`."""
        now = self.now(state)
        frames = self.totals.get("frames", 0)
        longest = max(self._doing, key=lambda worker: worker.busy_s, default=None)
        return {
            "state": state,
            "owner": self._owner,
            "stage": now.stage,
            "unit": now.unit,
            "done": now.done,
            "total": now.total,
            "tasks_failed": now.tasks_failed,
            **dict(sorted(self.totals.items())),
            "elapsed_s": round(now.elapsed_s, 1),
            "frames_per_s": round(frames / now.elapsed_s, 2) if now.elapsed_s else 0.0,
            "eta_s": None if now.left_s is None else round(now.left_s),
            "workers_busy": now.workers_busy,
            "longest": None if longest is None else asdict(longest),
            "silent": [asdict(worker) for worker in self._doing if worker.silent_s],
            "updated": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }

    def _save(self, state: str) -> None:
        self._saved_at = time.monotonic()
        self._output.logs.mkdir(parents=True, exist_ok=True)
        data = json.dumps(self.status(state), indent=1).encode()
        replace(data, self._output.status_json, self._output.tmp)
        if state != "running" and self._on_progress is not None:
            self._on_progress(self.now(state))

    def _print(self) -> None:
        if self._on_progress is not None:
            return
        self._line_at = time.monotonic() + LINE_S
        self._printed = self._done
        status = self.status("running")
        eta = "" if status["eta_s"] is None else f", {tqdm.format_interval(status['eta_s'])} left"
        share = 100 * self._done / max(1, self._total)
        text = (
            f"{self._stage}: {self._done}/{self._total} {self._unit}s ({share:.0f} %){eta}; {self._counts()}"
        )
        print(text, file=sys.stderr, flush=True)

    def _counts(self) -> str:
        if self._stage == "donors":
            return f"{self.totals.get('portraits', 0)} portraits"
        elapsed = max((self._ended or time.monotonic()) - self._began, 1e-9)
        frames = self.totals.get("frames", 0)
        clips, failed = self.totals.get("clips", 0), self.totals.get("failed", 0) + len(self.failures)
        return f"{clips} clips, {failed} failed, {frames / elapsed:.1f} frames/s"


def add_up(totals: Report, report: Report) -> None:
    """Add the counters of `report` to `totals`, including nested ones; other values are ignored."""
    for key, value in report.items():
        if isinstance(value, dict):
            add_up(totals.setdefault(key, {}), value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            totals[key] = totals.get(key, 0) + value
