"""Cases of the model and of diffusion, one function a kind. Shape suffixes as in `trainer.model.layers`."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from trainer.diffusion.sampler import Step, predict, sample
from trainer.diffusion.schedule import TrainingSchedule, build_scheduler
from trainer.diffusion.windows import cover
from trainer.model.config import PUBLISHED_DIFFUSION, DiffusionConfig, WindowConfig
from trainer.model.layers import SpatialTransformer
from trainer.model.megactor import Conditions, MegActor
from trainer.model.reference_net import ReferenceFeatures, half_rounded
from trainer.model.vae import decode
from trainer.parity.case import GRADIENT_TOLERANCE, TOLERANCE, Case, CaseError, video
from trainer.parity.models import Models


@torch.no_grad()
def driven_encoder(case: Case, models: Models) -> None:
    """`a`: the DrivenEncoder, its stages, and its output without modulation, as at initialisation."""
    encoder = models.megactor.unet.condition_input_layer
    driving, reference = video(case.pixels("driving_u8")), case.pixels("ref_u8")
    case.check("out", video(encoder(driving, reference)))
    clips = driving.shape[:2]
    x = driving.flatten(0, 1) * 2 - 1
    for index, stage in enumerate(encoder.spatial_conv_layers):
        x = stage(x)
        _check_if_stored(case, f"spatial{index}", video(x.unflatten(0, clips)))
    tower = encoder.refer_convs(reference * 2 - 1)
    linear = encoder.refer_linears(tower.flatten(1))
    _check_if_stored(case, "refer_convs_out", tower)
    _check_if_stored(case, "refer_linears_out", linear)
    _check_if_stored(case, "scale_shift", encoder.modulation(reference))
    unmodulated = encoder.spatial_conv_out(x).unflatten(0, clips)
    _check_if_stored(case, "out_zero_init_modulation", video(unmodulated))


@torch.no_grad()
def reference_net(case: Case, models: Models) -> None:
    """`b`: the features of the ReferenceNet, and the output of the published one."""
    net = models.megactor.appearance_encoder
    latents, tokens = case.input("ref_latents"), case.input("image_tokens")
    last = net.last_level.attentions[-1]
    assert isinstance(last, SpatialTransformer)
    last_inputs: list[Tensor] = []
    hook = last.register_forward_hook(lambda module, inputs, output: last_inputs.append(inputs[0]))
    features = net(latents, case.input("timesteps"), tokens)
    hook.remove()
    named = features.named()
    stored = sorted(name for name in case.tensors if name.startswith("bank."))
    if len(stored) != len(named):
        raise CaseError(f"{len(stored)} features are stored, the model has {len(named)}")
    for name, feature in zip(stored, named.values(), strict=True):
        case.check(name, feature)
    _check_sums(case, "bank_order", features)
    case.check(
        "final_hidden", _output(last, last_inputs[0], features.up[-1][-1], models.config.attention_heads)
    )


def _output(transformer: SpatialTransformer, x_NCHW: Tensor, feature_NLC: Tensor, heads: int) -> Tensor:
    """Output of the published net: its last block has attention without projections; its sum is doubled."""
    tokens = feature_NLC.unflatten(-1, (heads, -1)).transpose(1, 2)
    attended = F.scaled_dot_product_attention(tokens, tokens, tokens).transpose(1, 2).flatten(2)
    h_NLC = 2 * (transformer.embed(x_NCHW) + attended)
    return x_NCHW + h_NLC.transpose(1, 2).unflatten(2, x_NCHW.shape[2:])


@torch.no_grad()
def denoiser(case: Case, models: Models) -> None:
    """`c`: the denoiser without reference features, with and without motion modules."""
    unet = models.megactor.unet
    driven = unet.condition_input_layer(
        video(case.pixels("driving_u8")), case.pixels("ref_img_conditions_u8")
    )
    inputs = torch.cat([video(case.input("noisy_latents")), driven], dim=2)
    timesteps, tokens = case.input("timesteps"), case.input("image_tokens")
    case.check("noise_pred", video(unet(inputs, timesteps, tokens)))
    if case.has("noise_pred_no_motion_module"):
        case.check("noise_pred_no_motion_module", video(unet(inputs, timesteps, tokens, motion=False)))


def training_forward(case: Case, models: Models) -> None:
    """`d`: the forward pass of training, its loss, and the norm of every gradient."""
    model = models.megactor
    reference_mean = models.mean_latents(case.input("source_image_u8"))
    case.check("ref_latents", reference_mean)
    timesteps, tokens = case.input("timesteps"), case.input("image_tokens")
    features = model.reference_features(reference_mean, timesteps, tokens)
    _check_sums(case, "reference_bank", features)
    driven = model.unet.condition_input_layer(case.pixels("driving_u8"), case.pixels("ref_img_conditions_u8"))
    # The stored reference channels differ between frames, so `MegActor.fixed_channels` cannot be used.
    inputs = torch.cat([video(case.input("noisy_latents")), driven], dim=2)
    prediction = model.unet(inputs, timesteps, tokens, features)
    case.check("noise_pred", video(prediction))
    loss = F.mse_loss(prediction, video(case.input("target_noise")))
    case.close("loss_mse", loss.item(), case.scalar("loss_mse"), TOLERANCE)
    if case.has("noise_pred_official_fp16_bank"):
        with torch.no_grad():
            rounded = model.unet(inputs, timesteps, tokens, half_rounded(features))
        case.check_rounded("noise_pred_official_fp16_bank", video(rounded), "noise_pred")
    if case.gradients is not None:
        _check_gradients(case, model, loss)


def _check_gradients(case: Case, model: MegActor, loss: Tensor) -> None:
    assert case.gradients is not None
    wanted = case.gradients["grad_l2_norm"]
    case.close("gradients' loss", loss.item(), case.gradients["loss"], TOLERANCE)
    model.zero_grad(set_to_none=True)
    loss.backward()
    norms = {
        name: p.grad.double().norm().item() for name, p in model.named_parameters() if p.grad is not None
    }
    model.zero_grad(set_to_none=True)
    if norms.keys() != wanted.keys():
        odd = sorted(norms.keys() ^ wanted.keys())
        case.faults.append(f"gradients differ in {len(odd)} names: {', '.join(odd[:5])}")
        return
    relative = {
        name: abs(norm - wanted[name]) / max(abs(wanted[name]), 1e-12) for name, norm in norms.items()
    }
    bad = [name for name, error in relative.items() if not error <= GRADIENT_TOLERANCE]
    case.faults += [
        f"gradient norm of {name} is {norms[name]:.6g}, wanted {wanted[name]:.6g}" for name in bad[:5]
    ]
    case.notes.append(f"{len(norms)} gradient norms within {max(relative.values()):.1e} relative")


@torch.no_grad()
def sampler(case: Case, models: Models) -> None:
    """`e`: the sampler with windows, with or without guidance."""
    channels = models.config.latent_channels
    concatenated = case.input("concat_latents")[:, :, 0]
    conditions = Conditions(
        driving_BF3HW=case.pixels("driving_u8"),
        reference_B3HW=case.pixels("ref_img_conditions_u8"),
        reference_sample_BCHW=concatenated[:, :channels],
        reference_mean_BCHW=models.mean_latents(case.input("source_image_u8")),
        background_B1HW=concatenated[:, channels:],
        tokens_BTD=case.input("image_tokens"),
    )
    noise = video(case.input("init_latents"))
    config = _sampler_config(case)
    windows = cover(noise.shape[1], config.windows)
    case.equal("context_windows_every_step", windows)
    case.equal("cfg", config.guidance_scale > 1)

    steps: list[Step] = []
    final = sample(models.megactor, config, conditions, noise, steps.append)
    case.equal("timesteps", [step.timestep for step in steps])
    case.equal("num_unet_calls", len(steps) * len(windows))
    for index, step in enumerate(steps):
        case.check(f"guided_noise.{index}", video(step.prediction_BFCHW))
        case.check(f"latents_after.{index}", video(step.latents_BFCHW))
    for name, frame in (("video_first_frame", 0), ("video_last_frame", -1)):
        case.check(name, decode(models.vae, final[:, frame]))
    _check_first_call(case, models.megactor, conditions, noise, windows[0], steps[0].timestep)

    if case.has("latents_final_official_fp16_bank"):
        # The same weights, with reference features rounded to float16.
        rounding = MegActor(replace(models.config, half_reference=True)).eval()
        rounding.load_state_dict(models.megactor.state_dict())
        rounded = video(sample(rounding, config, conditions, noise))
        case.check_rounded("latents_final_official_fp16_bank", rounded, f"latents_after.{len(steps) - 1}")


def _sampler_config(case: Case) -> DiffusionConfig:
    """The published config with the steps, guidance and windows of the case; also compares the schedule."""
    windows: list[list[int]] = case.scalar("context_windows_every_step")
    frames = len(windows[0])
    overlap = frames - (windows[1][0] - windows[0][0]) if len(windows) > 1 else 0
    config = replace(
        PUBLISHED_DIFFUSION,
        sample_steps=len(case.scalar("timesteps")),
        guidance_scale=case.scalar("guidance_scale"),
        windows=WindowConfig(frames, overlap, closed=True, sum_unguided=True),
    )
    ours = dict(build_scheduler(config.sample_schedule, config.prediction).config)
    for name, value in case.scalar("effective_scheduler_config").items():
        if not name.startswith("_") and ours.get(name) != value:
            case.faults.append(f"scheduler's {name} is {ours.get(name)}, wanted {value}")
    return config


def _check_first_call(
    case: Case, model: MegActor, conditions: Conditions, noise_BFCHW: Tensor, window: list[int], timestep: int
) -> None:
    guided = case.scalar("cfg")
    fixed = model.fixed_channels(conditions)
    inputs = torch.cat([noise_BFCHW, fixed], dim=2)[:, window]
    stored_channels = inputs.shape[2] - model.config.driven_channels
    halves = torch.cat([inputs, inputs]) if guided else inputs
    case.check("first_unet_input", video(halves[:, :, :stored_channels]))
    timesteps = torch.full((len(inputs),), timestep)
    features = model.reference_features(conditions.reference_mean_BCHW, timesteps, conditions.tokens_BTD)
    output = predict(model, inputs, timesteps, conditions.tokens_BTD, features, guided)
    case.check("first_unet_output", video(output))


@torch.no_grad()
def temporal(case: Case, models: Models) -> None:
    """`f`: a motion module on clips of several lengths."""
    path = case.info.get("weights", "unet.down_blocks.0.motion_modules.0.*").removesuffix(".*")
    module = models.megactor.get_submodule(path)
    for name in sorted(case.tensors):
        if name.startswith("x"):
            x = video(case.input(name))
            case.check(f"y{name[1:]}", video(module(x.flatten(0, 1), x.shape[1]).unflatten(0, x.shape[:2])))
    for buffer in module.buffers():
        case.check("pe", buffer)


@torch.no_grad()
def image_encoder(case: Case, models: Models) -> None:
    """`g`: the CLIP branch."""
    config = case.info.get("config")
    encoder = models.build_image_encoder(config) if config else models.image_encoder
    pixels = case.input("pixel_values")
    hidden = encoder.vision_model(pixels).last_hidden_state
    tokens = encoder.tokens(pixels)
    case.check("last_hidden_state", hidden)
    case.check("post_layernorm", encoder.vision_model.post_layernorm(hidden))
    case.check("image_tokens", tokens)
    case.check("image_embeds_pooled", encoder(pixels).image_embeds)
    case.compare("class token", tokens[:, 0], case.input("image_embeds_pooled"))


@torch.no_grad()
def add_noise(case: Case, models: Models) -> None:
    """`n`: noisy latents and both noise schedules."""
    del models
    schedule = TrainingSchedule(PUBLISHED_DIFFUSION)
    noisy = schedule.add_noise(case.input("x"), case.input("noise"), case.input("timesteps"))
    case.check("y", noisy)
    case.check("alphas_cumprod_train", schedule.alphas_cumprod)
    inference = build_scheduler(PUBLISHED_DIFFUSION.sample_schedule, PUBLISHED_DIFFUSION.prediction)
    case.check("alphas_cumprod_inference", inference.alphas_cumprod)


@torch.no_grad()
def vae(case: Case, models: Models) -> None:
    """`v`: posterior and decoder of the VAE."""
    config = case.info.get("config")
    net = models.build_vae(config) if config else models.vae
    posterior = net.encode(case.input("pixels_u8").float() / 127.5 - 1).latent_dist
    case.check("mean", posterior.mean)
    case.check("logvar", posterior.logvar)
    case.check("decoded_from_mean", net.decode(posterior.mean).sample)


def _check_if_stored(case: Case, name: str, got: Tensor) -> None:
    if case.has(name):
        case.check(name, got)


def _check_sums(case: Case, field: str, features: ReferenceFeatures) -> None:
    """Compare names, order, shapes and means of features with the description."""
    if field not in case.info:
        return
    stated, named = case.scalar(field), features.named()
    if [entry["block"] for entry in stated] != list(named):
        case.faults.append(f"{field} pairs other blocks, or in another order")
        return
    for entry, feature in zip(stated, named.values(), strict=True):
        if list(feature.shape) != entry["shape"]:
            case.faults.append(f"{field} {entry['block']} has shape {list(feature.shape)}")
            continue
        count = feature.numel()
        for statistic, total in (("sum", feature.double().sum()), ("abs_sum", feature.double().abs().sum())):
            case.close(
                f"{entry['block']} {statistic}", total.item() / count, entry[statistic] / count, TOLERANCE
            )
