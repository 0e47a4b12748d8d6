"""Open data sets for training."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from datagen.common.errors import UserError
from trainer.data.config import DataConfig, DataSource
from trainer.data.index import OpenedClips, open_clips
from trainer.data.training_data import TrainingData

logger = logging.getLogger(__name__)


def open_training_data(
    sources: Sequence[DataSource],
    config: DataConfig,
    seed: int,
    *,
    split: str | None = "train",
    networks: tuple[str, str] | None = None,
) -> TrainingData:
    """Open data sets and mix them by weight.

    Args:
        sources: at least one data set; all or none have a weight.
        config: config of a sample.
        seed: seed of the order and of every random choice.
        split: clips of this split; None for all.
        networks: hashes of the VAE and the CLIP tower that training uses (`Encoders.vae`, `.clip`): latents of
            other networks are not used.

    Raises:
        UserError: no usable clip in one of the sets, sets that cannot share a batch, or latents that are missing
            where `precomputed: always` asks for them.
    """
    if not sources:
        raise UserError("training needs a data set; give --data", code=2)
    weights = [source.weight for source in sources if source.weight is not None]
    if weights and len(weights) != len(sources):
        raise UserError("give a weight to every data set or to none", code=2)
    opened = [open_clips(source, config, split) for source in sources]
    notes = []
    sizes = {item.clips.size: source.path for item, source in zip(opened, sources, strict=True)}
    if len(sizes) > 1:
        raise UserError(f"the data sets have clips of different sizes, which cannot share a batch: {sizes}")
    if config.precomputed != "never":
        why_not = _no_latents(opened, sources, networks)
        if why_not is None:
            opened = [item.with_latents() for item in opened]
        elif config.precomputed == "always":
            raise UserError(f"precomputed is 'always', but {why_not}; run `precompute` or set it to 'auto'")
        elif any(item.found.latents is not None for item in opened):
            notes.append(f"latents are computed while training: {why_not}")
    left_out = {clip_id: why for item in opened for clip_id, why in item.left_out.items()}
    if left_out:
        clip_id, why = next(iter(left_out.items()))
        notes.append(f"{len(left_out)} clips are left out, the first is {clip_id}: {why}")
    for item, source in zip(opened, sources, strict=True):
        logger.info("opened %s: %d clips, %d left out", source.path, len(item.clips), len(item.left_out))
    return TrainingData(
        [item.clips for item in opened],
        weights or None,
        config,
        seed,
        left_out=left_out,
        recipes=sorted({recipe for item in opened for recipe in item.recipes}),
        tombstones=",".join(item.tombstones for item in opened),
        notes=notes,
    )


def _no_latents(
    opened: Sequence[OpenedClips], sources: Sequence[DataSource], networks: tuple[str, str] | None
) -> str | None:
    """Why precomputed latents cannot be used for all clips, or None where they can."""
    for item, source in zip(opened, sources, strict=True):
        if item.found.latents is None or item.found.missing:
            return f"{item.found.missing} of {len(item.clips)} clips of {source.path} have no latents"
        if len(item.found.failed) == len(item.clips):
            return f"the latents of all clips of {source.path} failed"
        made_by = item.found.latents.settings
        if networks is not None and (made_by.vae, made_by.clip) != networks:
            return f"the latents of {source.path} were made with another VAE or CLIP than training uses"
    first = opened[0].found.latents
    assert first is not None
    for item, source in zip(opened, sources, strict=True):
        latents = item.found.latents
        assert latents is not None
        if latents.settings != first.settings or latents.shape != first.shape:
            return (
                f"the latents of {source.path} were made with other settings than those of {sources[0].path}"
            )
    return None
