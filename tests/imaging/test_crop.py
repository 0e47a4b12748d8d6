"""The square that a clip is cut from."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from datagen.imaging.crop import ClipCrop, choose_crop, square_side

boxes = st.lists(
    st.tuples(st.floats(100, 300), st.floats(100, 300), st.floats(30, 90), st.floats(30, 90)),
    min_size=1,
    max_size=20,
)


@given(boxes, st.floats(1.5, 3))
def test_the_crop_holds_every_face_and_is_no_larger_than_needed(raw, scale):
    box = np.array([(x, y, x + w, y + h) for x, y, w, h in raw], np.float32)
    crop = choose_crop(box, 640, 480, scale)
    assert (box[:, :2] >= np.array([crop.x, crop.y]) - 1).all()
    assert (box[:, 2:] <= np.array([crop.x, crop.y]) + crop.size + 1).all()
    union = float((box[:, 2:].max(axis=0) - box[:, :2].min(axis=0)).max())
    assert crop.size <= np.ceil(max(scale * np.median(square_side(box)), union + 2)) + 1
    if crop.size <= 480:
        assert crop.outside(640, 480) == 0


def test_cut_pads_black_and_boxes_follow():
    frame = np.full((40, 60, 3), 200, np.uint8)
    crop = ClipCrop(-10, 0, 40)
    piece = crop.cut(frame, 40)
    assert piece.shape == (40, 40, 3)
    assert (piece[:, :10] == 0).all()
    assert (piece[:, 10:] == 200).all()
    assert crop.cut(frame, 80).shape == (80, 80, 3)
    moved = crop.to_clip(np.array([[0, 0, 10, 10]], np.float32), 80)
    assert np.allclose(moved, [[20.5, 0.5, 40.5, 20.5]])
