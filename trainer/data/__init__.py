"""From the shards to the batches of a training step.

- `config`: what a sample consists of
- `opening`, `index`, `clips`: which clips there are and where their files lie; `stored_latents`: their latents
- `withdrawn`: clips whose consent was withdrawn while the data is in use
- `order`: the global order of samples
- `window`, `driver`, `pixels`, `sample`: one sample; `video`: its frames; `errors`: why a clip cannot be used
- `training_data`: all samples of a run; `batch`, `loader`: resumable batches from worker processes

What turns pixels into latents and tokens is in `trainer.latents`.
"""

from trainer.data.batch import Batch
from trainer.data.config import KINDS, DataConfig, DataSource, Drivers
from trainer.data.loader import Loader
from trainer.data.opening import open_training_data
from trainer.data.sample import Sample
from trainer.data.training_data import TrainingData

__all__ = [
    "KINDS",
    "Batch",
    "DataConfig",
    "DataSource",
    "Drivers",
    "Loader",
    "Sample",
    "TrainingData",
    "open_training_data",
]
