"""Crops of the parity cases."""

import numpy as np

from trainer.parity import pixels


def test_a_video_without_a_face_in_its_first_frame_has_no_rectangles() -> None:
    assert pixels.rectangles_by_frame(3, [1, 2], np.zeros((2, 4), np.float32)) is None
    crop = pixels.crop_faces(50, 31)
    assert crop.bottom - crop.top == crop.right - crop.left == 31
