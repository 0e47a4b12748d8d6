"""Training: plain PyTorch, which knows nothing of Ray.

- `config`: what a run does; `settings`: where configs come from
- `setup`: builds everything a run needs; `loop`: the loop itself
- `step`: gradients of one step; `optimise`: AdamW, learning rates; `ema`: averaged weights
- `frozen`: codec and ImageEncoder; `codec`: the tiny stand-in for a VAE; `inputs`: batches as the model's inputs
- `checkpoint`, `rng`: exact resume; `world`: ranks; `stop`: a clean end
- `validate`, `report`, `table`: what a user sees
- `launch`: `ray.train` over workers and nodes; `signs`, `watch`: whether these get on
"""
