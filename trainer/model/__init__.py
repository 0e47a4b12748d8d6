"""MegActor's model; `layout` says how its tensors are named, `layers` explains the shape suffixes.

    MegActor            megactor.py         the trained whole, parameter groups, stages
    ├─ unet             denoiser.py         13-channel Denoising UNet
    │  ├─ …input_layer  driven_encoder.py   DrivenEncoder and reference modulation
    │  └─ motion        temporal.py         Temporal Layer
    └─ appearance_…     reference_net.py    ReferenceNet, `ReferenceFeatures`
    blocks.py, layers.py                    levels and layers of both UNets, reference attention
    image_encoder.py, vae.py                frozen parts
    flops.py                                what a pass costs
"""
