"""MegActor's model. `layout` says how its tensors are named, `layers` explains the shape suffixes of names.

- `megactor`: the trained whole, its inputs, parameter groups and stages
- `denoiser`: the 13-channel Denoising UNet, which holds
- `driven_encoder`: the DrivenEncoder with reference modulation, and
- `temporal`: the Temporal Layer
- `reference_net`: the ReferenceNet and its `ReferenceFeatures`
- `blocks`, `layers`: levels and layers of both UNets, reference attention
- `image_encoder`, `vae`: the frozen parts
- `flops`: what a pass costs
"""
