"""Properties of a whole run, which belong to no single file of the source tree.

All other tests lie where their code lies: `tests/<folder>/test_<file>.py` tests `datagen/<folder>/<file>.py`, and
`tests/trainer/<folder>/test_<file>.py` tests `trainer/<folder>/<file>.py`.
"""
