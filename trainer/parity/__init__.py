"""Proof that the model computes what the published one does: stored inputs and outputs, replayed.

`python -m trainer.parity DIR` runs every case of a folder laid out so:

    DIR/tiny_layout.json             sizes of the small model all cases use
    DIR/golden/NAME.json             a case: what each tensor means, and scalars
    DIR/golden/NAME.safetensors      its inputs and outputs
    DIR/golden/NAME_grad_norms.json  with a training case: the norm of every gradient

The first two words of NAME say the kind of case. Weights are not stored: `weights` draws each from its name.
"""
