import numpy as np
import pytest
import skimage.data

from datagen.common.errors import UserError
from datagen.quality.flicker import flicker
from datagen.quality.motion import motion
from datagen.synthesise.stylise.arbitrary import ArbitraryStyle
from datagen.synthesise.stylise.style import Style


@pytest.fixture(scope="module")
def picture() -> Style:
    return Style("retina", skimage.data.retina()[300:900, 300:900], "art")


def test_arbitrary_style_keeps_the_expression_and_the_bytes(clip, picture, analyser):
    styled = ArbitraryStyle()(clip.frames, clip.faces, picture)
    assert styled.shape == clip.frames.shape
    assert np.abs(styled.astype(int) - clip.frames).mean() > 15
    assert motion(clip.faces, analyser.track(styled)).landmark_error < 0.08
    assert np.array_equal(styled, ArbitraryStyle()(clip.frames, clip.faces, picture))


def test_a_portrait_style_transfers_skin_and_background(clip, analyser):
    portrait = np.full((200, 200, 3), (30, 120, 40), np.uint8)  # green around, a dark red face in the middle
    rows, columns = np.indices((200, 200))
    portrait[np.hypot(rows - 100, columns - 100) < 60] = (110, 50, 40)
    styled = ArbitraryStyle()(clip.frames, clip.faces, Style("somebody", portrait, "portrait"))
    nose = clip.faces.landmarks[0, 5, :2].astype(int)
    assert styled[0, nose[1], nose[0]].mean() < 0.8 * clip.frames[0, nose[1], nose[0]].mean()
    red, green, _ = styled[0, :, :20].reshape(-1, 3).mean(axis=0)
    assert green > red
    assert motion(clip.faces, analyser.track(styled)).landmark_error < 0.05


def test_memory_reduces_flicker_of_the_strokes(clip, picture):
    shaky, calm = (ArbitraryStyle(memory=memory)(clip.frames, clip.faces, picture) for memory in (0.0, 0.6))
    assert flicker(clip.frames, calm, clip.faces) < 0.8 * flicker(clip.frames, shaky, clip.faces)


def test_strength_is_how_far_the_look_goes(clip, picture):
    weak, strong = (ArbitraryStyle(strength=s)(clip.frames[:1], clip.faces, picture) for s in (0.1, 1.0))
    assert (
        np.abs(weak.astype(int) - clip.frames[:1]).mean()
        < np.abs(strong.astype(int) - clip.frames[:1]).mean()
    )


def test_arbitrary_style_needs_a_picture(clip):
    with pytest.raises(UserError, match="picture"):
        ArbitraryStyle()(clip.frames, clip.faces, Style("sepia", None, "filter"))
