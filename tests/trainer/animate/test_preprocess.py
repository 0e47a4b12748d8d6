import numpy as np
import pytest
import skimage.data

from datagen.common.errors import Refusal
from datagen.driving.mask import driving_box, published_box
from datagen.faces import FaceAnalyser
from datagen.imaging.crop import ClipCrop
from datagen.recipe import Curate
from trainer.animate.preprocess import (
    PRESETS,
    PreprocessConfig,
    crop_frames,
    driving_frames,
    frame_face,
    reference_pictures,
)

DEFAULT, PUBLISHED = PRESETS["default"], PRESETS["published"]
NAN = [np.nan] * 4


def boxes(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32)


def frames(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)


class Segmenter:
    """Sees a person in the left half."""

    def foreground(self, rgb: np.ndarray) -> np.ndarray:
        return np.tile(np.arange(rgb.shape[1]) < rgb.shape[1] // 2, (rgb.shape[0], 1)).astype(np.float32)


def test_the_default_crop_is_that_of_curation() -> None:
    assert DEFAULT.crop_scale == Curate().crop_scale
    framing = frame_face(boxes([40, 40, 60, 60], [50, 40, 70, 60], [42, 40, 62, 60]), 200, 100, DEFAULT)
    assert framing.crop.size == 40
    assert framing.smallest_face == pytest.approx(0.25)


def test_the_published_crop_is_the_largest_square_around_the_faces() -> None:
    assert frame_face(boxes([10, 5, 31, 25]), 200, 100, PUBLISHED).crop == ClipCrop(0, 0, 100)
    assert frame_face(boxes([90, 5, 111, 25]), 200, 100, PUBLISHED).crop == ClipCrop(50, 0, 100)
    assert frame_face(boxes([90, 5, 111, 25]), 31, 50, PUBLISHED).crop == ClipCrop(0, 0, 31)


def test_gaps_are_interpolated_or_held() -> None:
    found = boxes([0, 0, 10, 10], NAN, [4, 4, 14, 14])
    assert frame_face(found, 50, 50, DEFAULT).boxes_F4[1].tolist() == [2, 2, 12, 12]
    assert frame_face(found, 50, 50, PUBLISHED).boxes_F4[1].tolist() == [0, 0, 10, 10]


def test_a_first_frame_without_face_is_refused_only_where_boxes_are_held() -> None:
    found = boxes(NAN, NAN, [4, 4, 14, 14])
    assert frame_face(found, 50, 50, DEFAULT).boxes_F4[0].tolist() == [4, 4, 14, 14]
    with pytest.raises(Refusal, match="frame 0 shows no face") as refusal:
        frame_face(found, 50, 50, PUBLISHED)
    assert "first 2 frames" in refusal.value.hint


@pytest.mark.parametrize("preset", PRESETS)
def test_a_video_without_a_face_is_refused(preset: str) -> None:
    with pytest.raises(Refusal, match="no frame shows a face"):
        frame_face(boxes(NAN, NAN), 50, 50, PRESETS[preset])


@pytest.mark.parametrize(
    ("box", "visible"),
    [
        ([30, 50, 70, 70], (30, 24, 70, 84)),  # wide: as `driving_box`
        ([30, 50, 50, 75], (30, 44, 50, 75)),  # up to 1.5 times as high as wide: squared at its width
        ([30, 50, 50, 110], (20, 50, 60, 110)),  # higher: widened
        ([-10, -10, 300, 90], (0, 0, 200, 200)),
    ],
)
def test_the_published_box_is_enlarged_as_stated(
    box: list[float], visible: tuple[int, int, int, int]
) -> None:
    assert published_box(np.array(box, np.float32), (200, 200)) == visible


@pytest.mark.parametrize("preset", PRESETS)
def test_driving_frames_show_the_face_in_grey_on_black(preset: str) -> None:
    config = PRESETS[preset]
    pictures, found = frames(2, 64, 96), boxes([40, 20, 60, 38], [42, 20, 62, 38])
    framing = frame_face(found, 96, 64, config)
    driving = driving_frames(pictures, framing.boxes_F4, framing.crop, 64, config)
    assert driving.shape == (2, 64, 64)
    assert driving.dtype == (np.float32 if config.bilinear else np.uint8)
    box_of = published_box if config.region == "published" else driving_box
    for frame, box in zip(driving, framing.crop.to_clip(framing.boxes_F4, 64), strict=True):
        x0, y0, x1, y1 = box_of(box, (64, 64))
        assert (frame[y0:y1, x0:x1] > 0).mean() > 0.9
        frame[y0:y1, x0:x1] = 0
        assert frame.max() == 0


@pytest.mark.parametrize("preset", PRESETS)
def test_a_video_in_parts_gives_the_same_frames(preset: str) -> None:
    config = PRESETS[preset]
    pictures, found = frames(5, 50, 60), boxes(*([20 + i, 15, 40 + i, 35] for i in range(5)))
    crop = frame_face(found, 60, 50, config).crop
    whole = driving_frames(pictures, found, crop, 32, config)
    parts = [driving_frames(pictures[at], found[at], crop, 32, config) for at in (slice(3), slice(3, 5))]
    assert np.array_equal(np.concatenate(parts), whole)


def test_the_hull_moves_with_the_crop() -> None:
    config = PreprocessConfig(region="hull")
    square = np.array([[[30, 20], [50, 20], [50, 40], [30, 40]]], np.float32)
    found = boxes([30, 20, 50, 40])
    driving = driving_frames(
        np.full((1, 60, 80, 3), 200, np.uint8), found, ClipCrop(20, 10, 40), 80, config, square
    )
    rows, columns = np.nonzero(driving[0])
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == pytest.approx((20, 60, 20, 60), abs=1)


def test_reference_is_split_into_person_and_background() -> None:
    picture = frames(1, 80, 100)[0]
    for config in PRESETS.values():
        made = reference_pictures(
            picture, boxes([40, 30, 60, 50])[0], Segmenter(), config, side=64, clip_size=28
        )
        assert made.image_SS3.shape == (64, 64, 3) and made.image_SS3.dtype == np.uint8
        assert made.background_SS[:, 33:].all() and not made.background_SS[:, :31].any()
        assert made.clip_image.shape == (28, 28, 3)
        assert made.clip_image[:, :12].max() == 0 < made.clip_image[:, 16:].min()


def test_a_framed_reference_is_only_resized() -> None:
    picture = frames(1, 64, 64)[0]
    made = reference_pictures(picture, None, Segmenter(), DEFAULT, side=64, clip_size=28)
    assert np.array_equal(made.image_SS3, picture)


def test_published_pictures_are_resized_bilinearly() -> None:
    picture = np.zeros((1, 2, 4, 3), np.uint8)
    picture[:, :, 1] = 255
    row = crop_frames(picture, ClipCrop(0, 0, 2), 4, PUBLISHED)[0, 0, :, 0]
    assert row.tolist() == [0, 63.75, 191.25, 255]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_portrait_with_the_real_analyser(preset: str) -> None:
    picture, analyser, config = skimage.data.astronaut(), FaceAnalyser(), PRESETS[preset]
    faces = analyser.track([picture], irises=False)
    framing = frame_face(faces.box, picture.shape[1], picture.shape[0], config)
    made = reference_pictures(picture, faces.box[0], analyser, config, side=256, clip_size=28)
    x0, y0, x1, y1 = framing.crop.to_clip(framing.boxes_F4, 256)[0].astype(int)
    assert made.background_SS[y0:y1, x0:x1].mean() < 0.1
    assert 0.05 < made.background_SS.mean() < 0.95
    driving = driving_frames(picture[None], framing.boxes_F4, framing.crop, 256, config)
    assert driving[0, y0:y1, x0:x1].mean() > 40
