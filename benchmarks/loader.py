"""How fast training samples come from the shards: from video, with precomputed latents, latents alone.

    python -m benchmarks.loader --output benchmarks/results

Writes `loader.md` and `loader.json`. A data set of made portraits is encoded first (about a minute). Shares of CPU time
are measured beside wall time, since other work on the machine slows the latter but hardly the former.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import psutil
import torch
from safetensors.numpy import save
from skimage import data as pictures
from torch.utils.data import DataLoader, Dataset

from datagen.driving.augment import Augmentation
from datagen.driving.mask import mask_driving
from datagen.media import encode
from datagen.output.paths import Output
from datagen.output.temporary import temporary
from datagen.shards.reader import Dataset as Index
from datagen.shards.writer import ShardWriter, publish_unit
from trainer.data import DataConfig, DataSource, Drivers, Loader, TrainingData, open_training_data
from trainer.latents.encoders import Encoders
from trainer.latents.precompute import precompute

SIZE, CLIP_FRAMES, CLIPS = 512, 150, 2
BOX = (176.0, 60.0, 336.0, 260.0)
KINDS = ((12, "online"), (12, "baked"), (16, "online"))
SYNTHETIC = Drivers(original=0, swapped=1, styled=0)
HEADINGS = (
    *("case", "driving", "grain", "GOP", "frames", "samples/s per core", "samples/s, 2 processes", "goal"),
    *("frames/s per core", "MB per process", "MB per clip"),
)
GOALS = {
    ("video", 12): "20 with 2 processes",
    ("precomputed", 12): "35 with 2 processes",
    ("latents", 12): "200 per core",
}


@dataclass(frozen=True)
class Result:
    """One measured case: medians over rounds.

    Attributes:
        case: `video`, `precomputed`, `latents`, or `bare`: decord reads both windows and nothing else is done.
        driving: how drivers are made.
        grain: standard deviation of the film grain in grey levels; it makes streams larger.
        gop: frames between key frames.
        frames: frames of a sample.
        per_core: samples per second of CPU time.
        two_workers: samples per second of wall time from two loader processes, None where not measured.
        shown: frames delivered (target, driver, reference, mask) per second of CPU time.
        memory_mb: largest peak of resident memory of a loader process.
        clip_mb: bytes of all streams of a clip.
    """

    case: str
    driving: str
    grain: float
    gop: int
    frames: int
    per_core: float
    two_workers: float | None
    shown: float
    memory_mb: float | None
    clip_mb: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--samples", type=int, default=16, help="samples of a round")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        made = Made(make_dataset(Path(folder) / "main", 12, 0), 12, 0)
        results += [measure_bare(made, args), *(measure("video", made, *kind, args) for kind in KINDS)]
        precompute(made.output.root, pooling_encoders())
        results += [measure("precomputed", made, *kind, args) for kind in KINDS]
        results += [measure_latents(made, frames, args) for frames in (12, 16)]
        for gop, grain in ((250, 0), (1, 0), (12, 2)):
            made = Made(make_dataset(Path(folder) / f"gop {gop} grain {grain}", gop, grain), gop, grain)
            results += [measure_bare(made, args), measure("video", made, *KINDS[0], args)]
    border = {
        str(dtype).removeprefix("torch."): across_the_border(dtype) for dtype in (torch.uint8, torch.float32)
    }
    write(results, border, args)


@dataclass(frozen=True)
class Made:
    """A data set of made clips."""

    output: Output
    gop: int
    grain: float

    @property
    def clip_mb(self) -> float:
        return sum(path.stat().st_size for path in self.output.shards.glob("*.tar")) / CLIPS / 1e6


def measure(case: str, made: Made, frames: int, driving: str, args: argparse.Namespace) -> Result:
    """Samples of a case, one at a time in this process and from two loader processes."""
    config = DataConfig(
        frames=frames,
        driving=driving,
        drivers=SYNTHETIC,
        precomputed="always" if case == "precomputed" else "never",
    )
    data = open_training_data([DataSource(path=str(made.output.root))], config, 0)
    slots = iter(range(10**9))
    cpu = rounds(lambda: data.sample(next(slots)), args, time.process_time)
    wall, memory = two_processes(data, args)
    shown = cpu * (2 + (frames if case == "precomputed" else 2 * frames))
    result = Result(case, driving, made.grain, made.gop, frames, cpu, wall, shown, memory, made.clip_mb)
    print(result, flush=True)
    return result


def measure_bare(made: Made, args: argparse.Namespace, frames: int = 12) -> Result:
    """Two windows by decord, without reference, mask, augmentation or batch: an upper bound."""
    data = Index(made.output.root)
    rng = np.random.default_rng(0)

    def read() -> None:
        row = data.row(int(rng.integers(len(data))))
        indices = int(rng.integers(CLIP_FRAMES - 2 * frames)) + 2 * np.arange(frames)
        for stream in ("video", "swapped"):
            data.frames(row, stream, indices)

    rate = rounds(read, args, time.process_time)
    return Result(
        "bare", "-", made.grain, made.gop, frames, rate, None, rate * 2 * frames, None, made.clip_mb
    )


def measure_latents(made: Made, frames: int, args: argparse.Namespace) -> Result:
    """Moments of the target and moments and tokens of the reference, without any decoding."""
    data = open_training_data([DataSource(path=str(made.output.root))], DataConfig(frames=frames), 0)
    latents = data.clips[0].latents
    assert latents is not None
    rng = np.random.default_rng(0)

    def read() -> None:
        number = int(rng.integers(len(data.clips[0])))
        start = int(rng.integers(CLIP_FRAMES - 2 * frames))
        latents.moments(number, start + 2 * np.arange(frames))
        latents.reference(number, int(rng.integers(4)))

    per_core = rounds(read, args, time.process_time)
    shown = per_core * (frames + 1)
    return Result("latents", "-", made.grain, made.gop, frames, per_core, None, shown, None, made.clip_mb)


def rounds(work: Callable[[], object], args: argparse.Namespace, clock: Callable[[], float]) -> float:
    """Median calls per second of `clock`."""
    work()
    rates = []
    for _ in range(args.rounds):
        started = clock()
        for _ in range(args.samples):
            work()
        rates.append(args.samples / (clock() - started))
    return statistics.median(rates)


def two_processes(data: TrainingData, args: argparse.Namespace) -> tuple[float, float]:
    """Median samples per second of wall time, and the largest peak memory of a process in MB."""
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    loader = Loader(data, 1, workers=2, prefetch=2)
    list(islice(loader, 8))
    rates = []
    for _ in range(args.rounds):
        started = time.perf_counter()
        deque(islice(loader, 2 * args.samples), maxlen=0)  # as training does, no batch is kept
        rates.append(2 * args.samples / (time.perf_counter() - started))
    children = [p for p in psutil.Process().children(recursive=True) if p.pid not in before]
    return statistics.median(rates), max(peak_mb(process.pid) for process in children)


def peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


class Ready(Dataset[torch.Tensor]):
    """A finished sample, so that only the transfer between processes takes time."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.sample = torch.zeros(12, 3, SIZE, SIZE, dtype=dtype)

    def __len__(self) -> int:
        return 10**6

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.sample


def across_the_border(dtype: torch.dtype) -> float:
    """Samples of 12 frames per second that one worker can hand over."""
    batches: Iterator[torch.Tensor] = iter(DataLoader(Ready(dtype), batch_size=1, num_workers=1))
    list(islice(batches, 10))
    rates = []
    for _ in range(5):
        started = time.perf_counter()
        list(islice(batches, 40))
        rates.append(40 / (time.perf_counter() - started))
    return statistics.median(rates)


def make_dataset(folder: Path, gop: int, grain: float) -> Output:
    """Clips of a moving portrait: target, swapped (mirrored) and baked driver, mask, face."""
    output = Output(folder)
    output.create()
    portrait = cv2.resize(pictures.astronaut(), (SIZE, SIZE))
    boxes = np.tile(np.array(BOX, np.float32), (CLIP_FRAMES, 1))
    faces = {
        "landmarks": np.zeros((CLIP_FRAMES, 468, 3), np.float16),
        "irises": np.zeros((CLIP_FRAMES, 2, 5, 2), np.float16),
        "pose": np.zeros((CLIP_FRAMES, 3), np.float16),
        "box": boxes.astype(np.float16),
        "presence": np.ones(CLIP_FRAMES, np.float16),
    }
    rows = []
    with ShardWriter(temporary(output.tmp, "shard.tar")) as shard:
        for clip in range(CLIPS):
            video = np.stack(list(moving(portrait, clip, grain)))
            swapped = video[:, :, ::-1]
            driver = mask_driving(*Augmentation(1.1, 0.9).apply(np.ascontiguousarray(swapped), boxes))
            mask = (cv2.GaussianBlur(cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY), (0, 0), 9) > 110).astype(
                np.uint8
            )
            streams = {
                "video": (video, "colour"),
                "swapped": (swapped, "colour"),
                "driving_swapped": (driver, "grey"),
                "mask": ([np.roll(mask, k % 7, 1) * np.uint8(255) for k in range(CLIP_FRAMES)], "mask"),
            }
            files: dict[str, bytes | Path] = {"face.safetensors": save(faces)}
            for name, (frames, kind) in streams.items():
                path = output.tmp / f"{clip}.{name}.mp4"
                encode(frames, 25, path, kind=kind, gop=gop)
                files[f"{name}.mp4"] = path
            rows.append(
                {
                    "clip_id": f"clip{clip}",
                    "unit": "p00000-u00",
                    "split": "train",
                    "frames": CLIP_FRAMES,
                    "fps": 25.0,
                    "size": SIZE,
                    "members": shard.add(f"clip{clip}", files),
                    "augmentations": [{"stream": "swapped", "scale": 1.1, "aspect": 0.9}],
                }
            )
    publish_unit(output, "p00000-u00", shard, rows, [])
    return output


def moving(portrait: np.ndarray, clip: int, grain: float) -> Iterator[np.ndarray]:
    """Frames of a portrait that sways, with film grain of `grain` grey levels."""
    rng = np.random.default_rng(clip)
    for i in range(CLIP_FRAMES):
        t = i + 40 * clip
        matrix = np.float32([[1, 0.02 * np.sin(t / 10), 8 * np.sin(t / 7)], [0, 1, 5 * np.cos(t / 9)]])
        frame = cv2.warpAffine(portrait, matrix, (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT)
        yield np.clip(frame + rng.normal(0, grain, (SIZE, SIZE, 1)), 0, 255).astype(np.uint8)


def pooling_encoders() -> Encoders:
    """Stand-ins with the real shapes: a 64x64 latent of 4 channels, 257 tokens of 768."""
    tokens = torch.randn(1, 257, 768, generator=torch.Generator().manual_seed(0))
    return Encoders(
        moments=lambda images: torch.nn.functional.avg_pool2d(images, 8)[:, [0, 1, 2, 0, 1, 2, 0, 1]],
        tokens=lambda pixels: tokens.expand(len(pixels), -1, -1),
        vae="pooled",
        clip="random",
    )


def write(results: list[Result], border: dict[str, float], args: argparse.Namespace) -> None:
    """Write the table and the numbers."""
    load = os.getloadavg()[0]
    lines = [
        "# Loader",
        "",
        f"{SIZE}x{SIZE}, {CLIP_FRAMES} frames a clip at 25 fps, samples at 12.5 fps with a synthetic driver (two",
        "streams decoded), reference frame and mask. `online`: augmented and masked from the raw stream; `baked`: the",
        "grey stream. `bare`: decord reads the same two windows and nothing else is done. Grain makes streams larger.",
        f"Per core: by CPU time of one process; 2 processes: by wall time. Medians of {args.rounds} rounds of",
        f"{args.samples} samples; {os.cpu_count()} CPUs ({platform.machine()}), load average {load:.1f}.",
        "",
        "| " + " | ".join(HEADINGS) + " |",
        "|" + "---|" * len(HEADINGS),
    ]
    for r in results:
        goal = GOALS.get((r.case, r.frames), "")
        rates = (f"{r.per_core:.1f}", number(r.two_workers, 1), goal, f"{r.shown:.0f}")
        cells = (r.case, r.driving, f"{r.grain:g}", str(r.gop), str(r.frames), *rates)
        lines.append("| " + " | ".join((*cells, number(r.memory_mb, 0), f"{r.clip_mb:.1f}")) + " |")
    lines += ["", "Across the process border, samples of 12 frames per second and worker: "]
    lines[-1] += ", ".join(f"{dtype} {rate:.0f}" for dtype, rate in border.items()) + "."
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "loader.md").write_text("\n".join(lines) + "\n")
    record = {
        "load_average": load,
        "cpus": os.cpu_count(),
        "border": border,
        "results": [asdict(r) for r in results],
    }
    (args.output / "loader.json").write_text(json.dumps(record, indent=1) + "\n")
    print("\n".join(lines))


def number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


if __name__ == "__main__":
    main()
