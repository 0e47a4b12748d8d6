"""Run the cases of a folder and report a line for each."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from trainer.diffusion.schedule import TrainingSchedule, build_scheduler
from trainer.diffusion.windows import cover
from trainer.model.config import PUBLISHED, PUBLISHED_DIFFUSION, WindowConfig
from trainer.model.state_dict import component_layout
from trainer.parity import cases, pixel_cases
from trainer.parity.case import TOLERANCE, Case, CaseError, load_case
from trainer.parity.models import Models
from trainer.parity.weights import draw_weight

KINDS: dict[str, Callable[[Case, Models], None]] = {
    "a_driven": cases.driven_encoder,
    "b_appearance": cases.reference_net,
    "c_unet": cases.denoiser,
    "d_train": cases.training_forward,
    "e_sampler": cases.sampler,
    "f_temporal": cases.temporal,
    "g_clip": cases.image_encoder,
    "h_apply": pixel_cases.augmentations,
    "h_crops": pixel_cases.crops,
    "n_add": cases.add_noise,
    "p_preprocess": pixel_cases.preprocess,
    "v_vae": cases.vae,
}
"""The function that runs each kind of case."""
SKIPPED = {
    "h_random": "the random numbers of the original's augmentation; the product draws its own (`Augmentation.draw`)"
}
"""Kinds of cases that no part of the product repeats, and why."""
_ATTACHMENT = "_grad_norms"
_COMPANIONS = {"manifest", "tiny_layout", "scheduler_and_context", "megactor_checkpoint_layout"}


def run_folder(folder: Path, report: Callable[[str], None] = print) -> bool:
    """Run all cases of a parity folder, or of its `golden` folder; returns whether all hold.

    Raises:
        FileNotFoundError: the folder has no cases or no `tiny_layout.json`.
    """
    golden = folder / "golden" if (folder / "golden").is_dir() else folder
    base = next((d for d in (folder, golden.resolve().parent) if (d / "tiny_layout.json").is_file()), None)
    if base is None:
        raise FileNotFoundError(f"{folder} has no tiny_layout.json; give a folder laid out like spec/parity")
    found = {path.stem for path in golden.iterdir() if path.suffix in (".json", ".safetensors")} - _COMPANIONS
    names = sorted(
        name for name in found if not (name.endswith(_ATTACHMENT) and name.removesuffix(_ATTACHMENT) in found)
    )
    if not names:
        raise FileNotFoundError(f"{golden} holds no cases")

    models = Models(json.loads((base / "tiny_layout.json").read_text()))
    held = [_run_check(name, check, report) for name, check in _folder_checks(base, models).items()]
    skipped = {name: SKIPPED[_kind(name)] for name in names if _kind(name) in SKIPPED}
    for name in names:
        if name in skipped:
            report(f"skip  {name:32} {skipped[name]}")
        else:
            held.append(_run_check(name, partial(_run_case, golden / f"{name}.json", models), report))
    report(f"{sum(held)} of {len(held)} hold" + (f", {len(skipped)} skipped" if skipped else ""))
    return all(held)


def _kind(name: str) -> str:
    """The first two words of a case's name, without their trailing numbers."""
    return "_".join(re.sub(r"\d+$", "", word) for word in name.split("_")[:2])


def _run_case(description: Path, models: Models) -> Case:
    run = KINDS.get(_kind(description.stem))
    if run is None:
        raise CaseError("a case of unknown kind")
    if not description.is_file():
        raise CaseError("the description is missing")
    case = load_case(description)
    run(case, models)
    case.finish()
    return case


def _run_check(name: str, check: Callable[[], Case], report: Callable[[str], None]) -> bool:
    try:
        case = check()
    except (CaseError, SafetensorError, OSError) as error:
        report(f"FAIL  {name:32} {error}")
        return False
    except Exception as error:  # a damaged file can fail anywhere in the computation: only this case fails
        report(f"FAIL  {name:32} {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
        return False
    share, where = case.worst
    summary = f"largest error {case.largest:.2e}, {share:.1%} of the tolerance at {where}"
    lines = [summary, *case.notes, *case.faults[:5]]
    report(f"{'FAIL' if case.faults else 'ok  '}  {name:32} " + "; ".join(lines))
    return not case.faults


def _folder_checks(base: Path, models: Models) -> dict[str, Callable[[], Case]]:
    """Checks of the other files of the folder, where they exist."""
    checks: dict[str, Callable[[], Case]] = {"weights_rule": partial(_check_weights, models)}
    for stem, check in (
        ("scheduler_and_context", _check_schedules),
        ("megactor_checkpoint_layout", _check_layout),
    ):
        if (base / f"{stem}.json").is_file():
            checks[stem] = partial(check, base / f"{stem}.json")
    return checks


def _check_weights(models: Models) -> Case:
    """Weights drawn from their names against stored samples and sums."""
    case = Case("weights_rule", models.layout.get("rule_checks", {}), {})
    shapes = models.layout.get("shapes", {})
    for name, entry in case.info.items():
        if "first4" in entry:
            got = torch.from_numpy(draw_weight(name, tuple(entry["shape"]))).flatten()[:4]
            case.compare(name, got, torch.tensor(entry["first4"]))
    built: dict[str, nn.Module] = {
        "unet": models.megactor.unet,
        "appearance_encoder": models.megactor.appearance_encoder,
        "vae": models.vae,
        "image_encoder": models.image_encoder,
    }
    for component, module in built.items():
        got_shapes = {name: list(t.shape) for name, t in module.state_dict().items()}
        if got_shapes != shapes.get(component, got_shapes):
            case.faults.append(f"names or shapes of {component} differ from tiny_layout.json")
        if component not in case.info:
            continue
        wanted = case.info[component]["sum_abs_all_parameters_float64"]
        total = sum(p.detach().double().abs().sum().item() for p in module.parameters())
        case.close(component, total, wanted, 1e-8 * wanted)
    return case


def _check_schedules(path: Path) -> Case:
    """Both published noise schedules, the timesteps of the sampler, and the windows."""
    case = Case(path.stem, json.loads(path.read_text()), {})
    training = TrainingSchedule(PUBLISHED_DIFFUSION).alphas_cumprod
    schedule = PUBLISHED_DIFFUSION.sample_schedule
    inference = build_scheduler(schedule, PUBLISHED_DIFFUSION.prediction)
    for part, alphas in (("train", training), ("inference", inference.alphas_cumprod)):
        for step, want in case.scalar(part)["alphas_cumprod_at"].items():
            case.close(f"{part} {step}", alphas[int(step)].item(), want, TOLERANCE)
    for name, want in case.scalar("inference").items():
        if name.startswith("timesteps_"):
            inference.set_timesteps(int(name.removeprefix("timesteps_")))
            if inference.timesteps.tolist() != want:
                case.faults.append(f"{name} differ")
    pattern = re.compile(r"context_windows_context(\d+)_stride1_overlap(\d+)")
    for field, lists in case.info.items():
        stated = pattern.fullmatch(field)
        if stated is None:
            continue
        config = WindowConfig(int(stated[1]), int(stated[2]), closed=True)
        case.faults += [
            f"windows of {n} frames differ" for n, want in lists.items() if cover(int(n), config) != want
        ]
    return case


def _check_layout(path: Path) -> Case:
    """Names and shapes of the full-size model."""
    case = Case(path.stem, json.loads(path.read_text()), {})
    for component in ("unet", "appearance_encoder"):
        want: dict[str, Any] = case.scalar(component)
        got = {name: list(shape) for name, shape in component_layout(PUBLISHED.model, component).items()}
        if got != want:
            odd = sorted(name for name in got.keys() | want.keys() if got.get(name) != want.get(name))
            case.faults.append(f"{component} differs in {len(odd)} tensors: {', '.join(odd[:5])}")
        case.notes.append(f"{len(want)} tensors of {component}")
    return case
