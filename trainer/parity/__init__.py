"""Checks that our code computes what the published code computes, on stored inputs and outputs.

`python -m trainer.parity DIR` runs every case of a folder with these files:

    DIR/tiny_layout.json             sizes of the small model that all cases use
    DIR/golden/NAME.json             a case: the meaning of each tensor, and scalars
    DIR/golden/NAME.safetensors      its inputs and outputs
    DIR/golden/NAME_grad_norms.json  of a training case: the norm of every gradient

The first two words of NAME are the kind of case. Weights are not stored: `weights` draws each from its name. Cases call
the code that training and inference run; what the product does not compute is skipped, with the reason.
"""
