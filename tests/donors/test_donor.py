from __future__ import annotations

import cv2
import numpy as np
import pytest

from datagen.common.errors import Refusal
from datagen.donors.donor import check_portrait, frame_score
from datagen.faces import FaceAnalyser


def refused(image, analyser, **options) -> str:
    with pytest.raises(Refusal) as caught:
        check_portrait(image, analyser, **options)
    assert any(letter.isdigit() for letter in caught.value.message) or caught.value.reason == "no_face"
    return caught.value.reason


def test_a_good_portrait_becomes_a_donor(hopper, donor, analyser):
    assert donor.colour
    assert donor.embedding.shape == (128,)
    assert len(donor.sha256) == 64
    assert 0.3 < donor.score <= 1
    side = max(donor.image.shape)
    assert (donor.landmarks[:, :2].min(axis=0) > 0).all()
    assert (donor.landmarks[:, :2].max(axis=0) < side).all()
    again = check_portrait(donor.image, analyser, name="again")  # the crop itself is as good a portrait
    assert np.linalg.norm(again.embedding - donor.embedding) < 0.2


def test_unfit_portraits_are_refused_with_the_reason(hopper, analyser):
    assert refused(np.zeros((300, 300, 3), np.uint8), analyser) == "no_face"
    assert refused(np.hstack([hopper, hopper]), analyser) == "several_faces"
    assert refused(cv2.GaussianBlur(hopper, (0, 0), 9), analyser) == "blurred"
    grey = cv2.cvtColor(cv2.cvtColor(hopper, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    assert refused(grey, analyser) == "colourless"
    assert (
        refused(cv2.resize(hopper, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA), analyser)
        == "too_small"
    )
    grey = grey.astype(np.float32)
    gaudy = np.clip(grey + 1.6 * (hopper - grey), 0, 255).astype(np.uint8)
    assert refused(gaudy, analyser) == "drawn_face"
    assert check_portrait(gaudy, analyser, allow_drawn=True).colour


def test_frames_score_by_how_good_a_portrait_they_are(hopper, donor):
    best = frame_score(donor.landmarks, donor.image)
    assert frame_score(donor.landmarks, cv2.GaussianBlur(donor.image, (0, 0), 6)) < best
    turned = donor.landmarks.copy()
    turned[:, 2] += 0.6 * (turned[:, 0] - turned[:, 0].mean())  # a quarter turn to the side
    assert frame_score(turned, donor.image) < 0.3 * best
    assert frame_score(np.full_like(donor.landmarks, np.nan), donor.image) == 0


def test_a_portrait_without_a_face_is_no_donor(analyser: FaceAnalyser) -> None:
    with pytest.raises(Refusal):
        check_portrait(np.full((512, 512, 3), 128, np.uint8), analyser)
