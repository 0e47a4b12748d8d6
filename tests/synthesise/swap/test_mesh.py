from dataclasses import replace

import cv2
import numpy as np
import pytest

from datagen.common.errors import Refusal
from datagen.donors.donor import check_portrait
from datagen.quality.flicker import flicker
from datagen.quality.identity import identity
from datagen.quality.motion import motion
from datagen.synthesise.swap.mesh import MeshSwap
from tests.support import SHARED

MEDIA = SHARED / "media"


@pytest.fixture(scope="module")
def swapped(clip, donor):
    return MeshSwap()(clip.frames, clip.faces, donor)


def test_identity_becomes_the_donors(clip, donor, swapped, analyser):
    found = identity(clip.frames, clip.faces, swapped, analyser.track(swapped), donor.embedding, analyser, 3)
    before = np.linalg.norm(analyser.embed(clip.frames[0], clip.faces.landmarks[0]) - donor.embedding)
    assert found.closer == 1
    assert found.to_donor < 0.75 * before
    assert found.to_source > 0.45


def test_motion_stays_and_nothing_flickers(clip, swapped, analyser):
    kept = motion(clip.faces, analyser.track(swapped))
    assert kept.pose_rms < 4
    assert kept.mouth_rms < 0.1
    assert kept.eyes_rms < 0.1
    assert flicker(clip.frames, swapped, clip.faces) < 1.3


def test_pixels_far_from_the_face_do_not_change(clip, swapped):
    changed = (clip.frames != swapped).any(axis=(0, 3))
    rows, columns = np.nonzero(changed)
    low = clip.faces.landmarks[..., :2].min(axis=(0, 1))
    high = clip.faces.landmarks[..., :2].max(axis=(0, 1))
    room = 0.3 * (high - low).max()
    assert (np.array([columns.min(), rows.min()]) >= low - room).all()
    assert (np.array([columns.max(), rows.max()]) <= high + room).all()
    assert not changed[:, :8].any()


def test_same_input_same_bytes(clip, donor, swapped):
    assert np.array_equal(MeshSwap()(clip.frames, clip.faces, donor), swapped)


def test_the_input_is_not_modified(clip, donor):
    before = clip.frames.copy()
    MeshSwap()(clip.frames, clip.faces, donor)
    assert np.array_equal(before, clip.frames)


def test_a_frame_without_a_face_stays_as_it_is(clip, donor):
    landmarks = clip.faces.landmarks.copy()
    landmarks[3] = np.nan
    result = MeshSwap()(clip.frames, replace(clip.faces, landmarks=landmarks), donor)
    assert np.array_equal(result[3], clip.frames[3])
    assert not np.array_equal(result[2], clip.frames[2])


def test_a_face_at_the_border_is_swapped(clip, donor):
    frames = clip.frames[:, :, 110:]
    faces = replace(clip.faces, landmarks=clip.faces.landmarks - np.array([110, 0, 0], np.float32))
    assert MeshSwap()(frames, faces, donor).shape == frames.shape


def test_heads_turned_too_far_are_refused(clip, donor):
    pose = clip.faces.pose + np.array([50, 0, 0], np.float32)
    with pytest.raises(Refusal) as caught:
        MeshSwap()(clip.frames, replace(clip.faces, pose=pose), donor)
    assert caught.value.reason == "yaw"
    assert "40 degrees" in caught.value.message


@pytest.mark.skipif(not MEDIA.exists(), reason="shared media is not there")
def test_real_footage_takes_the_identity_of_a_real_donor(analyser):
    decord = pytest.importorskip("decord")
    reader = decord.VideoReader(str(MEDIA / "videos/sh01_man_green_25fps_noaudio.mp4"))
    frames = reader.get_batch(range(0, 12)).asnumpy()
    faces = analyser.track(frames)
    portrait = cv2.cvtColor(
        cv2.imread(str(MEDIA / "portraits/photo_dreamtalk_male_face.jpg")), cv2.COLOR_BGR2RGB
    )
    donor = check_portrait(portrait, analyser, name="donor")
    result = MeshSwap()(frames, faces, donor)
    found = identity(frames, faces, result, analyser.track(result), donor.embedding, analyser, 3)
    assert found.closer == 1
    assert found.to_donor < 0.6 < found.to_source + 0.15
