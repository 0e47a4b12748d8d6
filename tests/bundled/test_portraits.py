"""The bundled portraits."""

from __future__ import annotations

import numpy as np

from datagen.bundled.demo_set import portraits
from datagen.bundled.portraits import INVENTED
from datagen.donors.donor import check_portrait
from datagen.faces import FaceAnalyser


def test_bundled_portraits_show_different_people_and_state_their_terms(analyser: FaceAnalyser) -> None:
    people = {portrait.name: portrait for portrait in portraits()}
    known = {name: analyser.embed(portrait.image, portrait.landmarks) for name, portrait in people.items()}
    for name, portrait in people.items():
        assert portrait.image.shape == (512, 512, 3) and portrait.origin and portrait.licence
        check_portrait(portrait.image, analyser)
        if name in INVENTED:
            for parent in ("astronaut", "hopper"):
                assert np.linalg.norm(known[name] - known[parent]) > 0.6, (name, parent)
