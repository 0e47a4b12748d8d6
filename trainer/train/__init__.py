"""Training: the loop in plain PyTorch; only `launch` and `heartbeats` know Ray.

- `config`: what a run does; `job`: one `train` command, and where configs come from
- `build`: makes everything a run needs; `checks`: whether it fits; `resume`: continuing from a checkpoint
- `loop`: the loop itself; `step`: gradients of one step; `inputs`: batches as the model's inputs
- `state`: what changes while training, and its checkpoints
- `prefetch`: batches prepared in advance; `ranks`: rank and world size; `stop`: a clean stop
- `validate`: validation loss and videos; `metrics`: the log; `cost`: the table at the start
- `launch`: this process, or workers on several nodes; `heartbeats`, `watchdog`: whether the workers make progress
"""
