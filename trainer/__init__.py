"""Trains MegActor from the shards the pipeline writes: model, diffusion, weights, train loop."""
