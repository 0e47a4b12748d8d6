"""Time, memory and FLOP/s of MegActor: forward, backward and whole training steps, with latents precomputed.

    python -m benchmarks.model                         tiny on a CPU, full size on a GPU
    python -m benchmarks.model --stage joint --compile on --profile

Every stage is run with and without compilation and recomputation, as asked. Writes OUT/model.json and OUT/model.md.
Needs torch, diffusers, transformers, safetensors and numpy.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from trainer.diffusion.draws import draw
from trainer.diffusion.loss import training_loss
from trainer.diffusion.schedule import TrainingSchedule
from trainer.model.config import DEFAULT, TINY, MegActorConfig
from trainer.model.flops import count
from trainer.model.megactor import Conditions, MegActor, Stage

PEAK_TFLOPS = {"H200": 989.0, "H100": 989.0, "A100": 312.0}
"""Dense bf16, by what the device's name contains."""
STAGES: tuple[Stage, ...] = ("image", "video", "joint")


@dataclass(frozen=True)
class Variant:
    """One configuration to measure. `batch` is clips, of one frame in the image stage."""

    size: str
    stage: Stage
    batch: int
    frames: int
    pixels: int
    compiled: bool
    recompute: bool
    precision: str


@dataclass(frozen=True)
class Result:
    """What was measured. Times in seconds (medians), memory in GiB, rates in TFLOP/s of the model's own count."""

    variant: Variant
    forward_s: float
    backward_s: float
    optimiser_s: float
    step_s: float
    clips_per_s: float
    step_tflop: float
    tflops: float
    utilisation: float | None
    peak_gib: float | None
    warm_up_s: float
    parameters_trained: int


def main() -> None:
    """Measure all variants."""
    on_gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=("tiny", "full"), default="full" if on_gpu else "tiny")
    parser.add_argument("--stage", choices=STAGES, action="append", help="may be given again; all by default")
    parser.add_argument("--frames", type=int, default=16 if on_gpu else 4)
    parser.add_argument("--pixels", type=int, default=512 if on_gpu else 64, help="side of the images")
    parser.add_argument("--images", type=int, default=24 if on_gpu else 2, help="batch of the image stage")
    parser.add_argument("--clips", type=int, default=1, help="batch of the other stages")
    parser.add_argument("--compile", choices=("off", "on", "both"), default="both" if on_gpu else "off")
    parser.add_argument("--recompute", choices=("off", "on", "both"), default="both")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16" if on_gpu else "fp32")
    parser.add_argument("--steps", type=int, default=10 if on_gpu else 2)
    parser.add_argument("--profile", action="store_true", help="also print where a step's time goes")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()

    torch.set_float32_matmul_precision("high")
    device = torch.device("cuda" if on_gpu else "cpu")
    flags = {"off": (False,), "on": (True,), "both": (False, True)}
    rows: list[dict[str, object]] = []
    results: list[Result] = []
    for stage, compiled, recompute in itertools.product(
        options.stage or STAGES, flags[options.compile], flags[options.recompute]
    ):
        image = stage == "image"
        variant = Variant(
            options.size,
            stage,
            options.images if image else options.clips,
            1 if image else options.frames,
            options.pixels,
            compiled,
            recompute,
            options.precision,
        )
        try:
            result, profile = run(variant, device, options.steps, options.profile)
        except torch.OutOfMemoryError:
            print(f"{describe(variant)}: out of memory", flush=True)
            rows.append({"variant": asdict(variant), "failure": "out of memory"})
            continue
        finally:
            gc.collect()
            torch.compiler.reset()
            if on_gpu:
                torch.cuda.empty_cache()
        results.append(result)
        rows.append(asdict(result) | {"profile": profile})
        print(markdown_row(result) + ("\n" + profile if profile else ""), flush=True)
    write(options.output, device, rows, results)


def run(variant: Variant, device: torch.device, steps: int, profiled: bool) -> tuple[Result, str]:
    """Measure training steps of one variant, after two that warm up (and compile)."""
    config = DEFAULT if variant.size == "full" else TINY
    with device:
        model = MegActor(config.model)
    model.use_channels_last()
    trained = model.train_stage(variant.stage)
    optimiser = torch.optim.AdamW(trained, lr=1e-5, fused=True)
    if variant.compiled:
        model.compile_regions()
    latents, conditions = make_batch(variant, config, device)
    schedule = TrainingSchedule(config.diffusion, device)
    draws = draw(config.diffusion, latents.shape[1:], seed=0, step=0, slots=range(variant.batch))
    draws = draws.map(lambda t: t.to(device))
    synchronise = torch.cuda.synchronize if device.type == "cuda" else lambda: None

    def timed(work: Callable[[], object]) -> float:
        synchronise()
        start = time.perf_counter()
        work()
        synchronise()
        return time.perf_counter() - start

    loss: Tensor

    def forward() -> None:
        nonlocal loss
        with torch.autocast(device.type, torch.bfloat16, enabled=variant.precision == "bf16"):
            loss = training_loss(
                model,
                schedule,
                latents,
                conditions,
                draws,
                motion=variant.stage != "image",
                recompute=variant.recompute,
            ).mean

    def update() -> None:
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    def step() -> None:
        forward()
        loss.backward()
        update()

    def many_steps(number: int) -> None:
        for _ in range(number):
            step()

    warm_up_s = timed(lambda: many_steps(2))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    parts = [(timed(forward), timed(lambda: loss.backward()), timed(update)) for _ in range(steps)]
    # Whole steps without waiting in between, as training runs them.
    step_s = timed(lambda: many_steps(steps)) / steps
    forward_s, backward_s, optimiser_s = (statistics.median(column) for column in zip(*parts, strict=True))

    side = variant.pixels // 8
    tokens = config.image_encoder.tokens
    flop = variant.batch * count(config.model, variant.frames, side, side, tokens).training_step(
        variant.stage
    )
    peak = peak_tflops(device)
    result = Result(
        variant,
        forward_s,
        backward_s,
        optimiser_s,
        step_s,
        clips_per_s=variant.batch / step_s,
        step_tflop=flop / 1e12,
        tflops=flop / step_s / 1e12,
        utilisation=flop / step_s / 1e12 / peak if peak else None,
        peak_gib=torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else None,
        warm_up_s=warm_up_s,
        parameters_trained=sum(p.numel() for p in trained),
    )
    return result, profile_step(step, device) if profiled else ""


def make_batch(variant: Variant, config: MegActorConfig, device: torch.device) -> tuple[Tensor, Conditions]:
    """Random latents and conditions of the variant's size."""
    clips, frames, side = variant.batch, variant.frames, variant.pixels // 8
    channels = config.model.latent_channels
    reference = max(variant.pixels, 128)
    with device:
        conditions = Conditions(
            driving_BF3HW=torch.rand(clips, frames, 3, variant.pixels, variant.pixels),
            reference_B3HW=torch.rand(clips, 3, reference, reference),
            reference_sample_BCHW=torch.randn(clips, channels, side, side),
            reference_mean_BCHW=torch.randn(clips, channels, side, side),
            background_B1HW=torch.ones(clips, 1, side, side),
            tokens_BTD=torch.randn(clips, config.image_encoder.tokens, config.model.cross_attention_dim),
        )
        return torch.randn(clips, frames, channels, side, side), conditions


def profile_step(step: Callable[[], None], device: torch.device) -> str:
    """Table of the operations that take longest in one step."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        step()
    order = f"self_{'cuda' if device.type == 'cuda' else 'cpu'}_time_total"
    return profiler.key_averages().table(sort_by=order, row_limit=25, max_name_column_width=70)


def peak_tflops(device: torch.device) -> float | None:
    """The device's dense bf16 peak, if known."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return next((peak for part, peak in PEAK_TFLOPS.items() if part in name), None)


def describe(variant: Variant) -> str:
    """The variant in a few words."""
    unit = "images" if variant.stage == "image" else f"clips of {variant.frames}"
    flags = ("compiled" if variant.compiled else "eager") + (", recomputed" if variant.recompute else "")
    return f"{variant.size} {variant.stage}, {variant.batch} {unit} at {variant.pixels}, {variant.precision}, {flags}"


HEADER = (
    "| what | step s | forward | backward | optimiser | per s | TFLOP/s | MFU | peak GiB |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)


def markdown_row(result: Result) -> str:
    """One row of the table."""
    used = f"{result.utilisation:.1%}" if result.utilisation is not None else "-"
    memory = f"{result.peak_gib:.1f}" if result.peak_gib is not None else "-"
    times = " | ".join(
        f"{t:.4f}" for t in (result.step_s, result.forward_s, result.backward_s, result.optimiser_s)
    )
    rates = f"{result.clips_per_s:.3f} | {result.tflops:.3g} | {used} | {memory}"
    return f"| {describe(result.variant)} | {times} | {rates} |"


def write(output: Path, device: torch.device, rows: list[dict[str, object]], results: list[Result]) -> None:
    """Write everything as JSON and the table as markdown."""
    name = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else platform.processor() or platform.machine()
    )
    machine = {"device": name, "torch": torch.__version__, "threads": torch.get_num_threads()}
    output.mkdir(parents=True, exist_ok=True)
    (output / "model.json").write_text(json.dumps({"machine": machine, "rows": rows}, indent=1))
    table = "\n".join([f"{name}, torch {torch.__version__}", "", HEADER, *map(markdown_row, results)])
    (output / "model.md").write_text(table + "\n")
    print("\n" + table)


if __name__ == "__main__":
    main()
