"""MegActor's model.

- `config`: sizes and behaviour; `megactor`: the trained model, its inputs, parameter groups and training stages
- `denoiser`: the 13-channel Denoising UNet, with
- `driven_encoder`: the DrivenEncoder with reference modulation, and
- `temporal`: the Temporal Layer
- `reference_net`: the ReferenceNet and its `ReferenceFeatures`
- `blocks`, `layers`: levels and layers of both UNets, reference attention; `layers` explains the shape suffixes
- `image_encoder`, `vae`: the frozen networks
- `state_dict`: names of the tensors; `precision`: number format; `flops`: cost of a pass
"""
