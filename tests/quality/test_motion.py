from dataclasses import replace

import numpy as np
import pytest

from datagen.common.errors import Refusal
from datagen.quality.flicker import flicker
from datagen.quality.motion import motion


def test_a_clip_against_itself(clip):
    same = motion(clip.faces, clip.faces)
    assert (same.pose_rms, same.mouth_rms, same.eyes_rms, same.landmark_error, same.lost) == (0, 0, 0, 0, 0)
    assert flicker(clip.frames, clip.frames, clip.faces) == 1


def test_rms_is_in_degrees_and_correlation_needs_movement(clip):
    pose = clip.faces.pose + np.array([3, 3, 3], np.float32)
    assert motion(clip.faces, replace(clip.faces, pose=pose)).pose_rms == pytest.approx(3, abs=1e-4)
    still = replace(clip.faces, landmarks=np.repeat(clip.faces.landmarks[:1], len(clip.faces), axis=0))
    assert motion(still, clip.faces).mouth_corr is None
    turning = replace(clip.faces, pose=np.linspace(-10, 10, len(clip.faces))[:, None] * np.ones((1, 3)))
    assert motion(turning, turning).pose_corr == pytest.approx(1)


def test_lost_frames_are_counted_and_an_empty_result_refused(clip):
    presence = clip.faces.presence.copy()
    presence[:2] = 0
    assert motion(clip.faces, replace(clip.faces, presence=presence)).lost == pytest.approx(0.25)
    with pytest.raises(Refusal, match="no face"):
        motion(clip.faces, replace(clip.faces, presence=0 * presence))


def test_shaking_light_is_flicker_and_a_brighter_clip_is_not(clip):
    dimmer = (clip.frames * 0.7).astype(np.uint8)
    assert flicker(clip.frames, dimmer, clip.faces) == pytest.approx(1, abs=0.1)
    shaking = clip.frames.copy()
    shaking[::2] = (shaking[::2] * 0.8).astype(np.uint8)
    assert flicker(clip.frames, shaking, clip.faces) > 2
