"""From the shards to the batches of a training step.

- `config`: what a sample is made of; `opening`, `index`, `clips`: which clips there are and where their files lie
- `order`: the global order of samples; `window`, `driver`, `sample`: one sample; `video`: its frames
- `batch`, `loader`: batches made ahead by worker processes, resumable
- `precompute`, `precomputed`, `latents`, `encoders`: VAE moments and CLIP tokens, stored or in line
"""

from trainer.data.batch import Batch
from trainer.data.config import KINDS, DataConfig, DataSource, Drivers
from trainer.data.loader import Loader
from trainer.data.opening import open_training_data
from trainer.data.sample import Sample
from trainer.data.training_data import TrainingData
from trainer.latents.encoders import Encoders, complete, mean_latents, sample_latents

__all__ = [
    "KINDS",
    "Batch",
    "DataConfig",
    "DataSource",
    "Drivers",
    "Encoders",
    "Loader",
    "Sample",
    "TrainingData",
    "complete",
    "mean_latents",
    "open_training_data",
    "sample_latents",
]
