"""What a run reports while it trains: console lines, `log.jsonl`, TensorBoard."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from trainer.data import KINDS
from trainer.diffusion.schedule import TRAIN_TIMESTEPS
from trainer.train.ranks import Ranks

BUCKETS = 10  # groups into which the timesteps are divided
Say = Callable[[str], None]


class LossTable:
    """Sums of the unweighted loss by timestep bucket and by kind of driver, kept on the device."""

    def __init__(self, device: torch.device) -> None:
        self._sums = torch.zeros(BUCKETS + len(KINDS), device=device, dtype=torch.float64)
        self._counts = torch.zeros_like(self._sums)

    def add(self, losses_B: Tensor, timesteps_B: Tensor, kinds_B: Tensor) -> None:
        """Add the samples of a micro-batch."""
        for rows in (timesteps_B * BUCKETS // TRAIN_TIMESTEPS, BUCKETS + kinds_B):
            self._sums.index_add_(0, rows, losses_B.double())
            self._counts.index_add_(0, rows, torch.ones_like(losses_B, dtype=torch.float64))

    def means(self, ranks: Ranks) -> dict[str, float]:
        """Mean loss of every bucket and kind that has samples, over all ranks; the table is empty afterwards."""
        totals = ranks.sums([*self._sums.tolist(), *self._counts.tolist()])
        self._sums.zero_()
        self._counts.zero_()
        half = len(totals) // 2
        width = TRAIN_TIMESTEPS // BUCKETS
        names = [f"loss_timestep/{b * width:03d}-{(b + 1) * width - 1:03d}" for b in range(BUCKETS)]
        names += [f"loss_driver/{kind}" for kind in KINDS]
        cells = zip(names, totals[:half], totals[half:], strict=True)
        return {name: total / count for name, total, count in cells if count}


class Speed:
    """Time and work since the last call of `rates`."""

    def __init__(self) -> None:
        self._start, self._cpu = time.perf_counter(), time.process_time()
        self._steps, self._waited = 0, 0.0

    def add(self, waited_s: float) -> None:
        """Count one step, which waited some seconds for data."""
        self._steps += 1
        self._waited += waited_s

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time inside the block does not count: saving and validating are not training."""
        start, cpu = time.perf_counter(), time.process_time()
        yield
        self._start += time.perf_counter() - start
        self._cpu += time.process_time() - cpu

    def rates(self, clips_per_step: int, flop_per_step: float, peak_flops: float) -> dict[str, float]:
        """Rates since the last call, or since the start."""
        seconds = max(time.perf_counter() - self._start, 1e-9)
        cpu_seconds = time.process_time() - self._cpu
        steps, waited = self._steps, self._waited
        self._start, self._cpu = self._start + seconds, self._cpu + cpu_seconds
        self._steps, self._waited = 0, 0.0
        values = {
            "speed/clips_per_s": steps * clips_per_step / seconds,
            "speed/step_s": seconds / max(steps, 1),
            "speed/step_cpu_s": cpu_seconds / max(steps, 1),
            "speed/data_wait_share": waited / seconds,
            "speed/tflops": steps * flop_per_step / seconds / 1e12,
        }
        if peak_flops:
            values["speed/mfu"] = steps * flop_per_step / seconds / peak_flops
        return values


class Reporter:
    """Writes values of steps to the log, to TensorBoard and to the console; on all but the main rank it does nothing.

    Args:
        folder: the run's folder.
        step: step from which the run continues; log lines of later steps are removed.
        say: prints a line.
        is_main: whether this rank reports.
    """

    def __init__(self, folder: Path, step: int, say: Say, is_main: bool) -> None:
        self._say = say if is_main else _ignore
        self._log = folder / "log.jsonl"
        self._board: SummaryWriter | None = None
        if is_main:
            _drop_after(self._log, step)
            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)

    def say(self, text: str) -> None:
        """A line for the user."""
        self._say(text)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Record values after `step` steps."""
        if self._board is None:
            return
        for name, value in values.items():
            self._board.add_scalar(name, value, step)
        known = {name: value for name, value in values.items() if math.isfinite(value)}
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step} | known) + "\n")

    def progress(self, step: int, steps: int, values: Mapping[str, float]) -> None:
        """The console line of some steps."""
        parts = [f"step {step}/{steps}", f"loss {values['loss']:.4f}", f"grad {values['grad_norm']:.3g}"]
        parts.append(f"{values['speed/clips_per_s']:.2f} clips/s")
        parts.append(f"data wait {100 * values['speed/data_wait_share']:.1f} %")
        if "speed/mfu" in values:
            parts.append(f"MFU {100 * values['speed/mfu']:.1f} %")
        if step < steps:
            parts.append(f"{timedelta(seconds=round((steps - step) * values['speed/step_s']))} left")
        self._say("  ".join(parts))

    def close(self) -> None:
        """Write what is buffered."""
        if self._board is not None:
            self._board.close()


def memory(device: torch.device) -> dict[str, float]:
    """Peak memory in GB: of the GPU's tensors, or of the process."""
    if device.type == "cuda":
        return {"memory/peak_gb": torch.cuda.max_memory_allocated(device) / 1e9}
    import resource

    return {"memory/peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9}


def _drop_after(log: Path, step: int) -> None:
    """Remove lines of steps that a killed run took after its last checkpoint: they will be taken again."""
    if not log.exists():
        return
    kept = []
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except ValueError:
            break  # the line a killed run was writing
    temporary = log.with_suffix(".tmp")
    temporary.write_text("".join(kept), encoding="utf-8")
    os.replace(temporary, log)


def _ignore(text: str) -> None:
    """For all ranks but the main one."""
