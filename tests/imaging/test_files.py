"""If a picture is too large or damaged, only that picture is refused; unusual names can be read."""

import os

import pytest
from PIL import Image

from datagen.common.errors import Refusal, UserError
from datagen.imaging import files as pictures
from datagen.imaging.files import decode_image, folder_licences, image_files, image_sha256, read_image
from tests.imaging.pictures import encoded, header_of_png


@pytest.mark.parametrize(
    ("side", "reason"), [(8000, "unreadable"), (8001, "too_large"), (40_000, "too_large")]
)
def test_the_size_is_read_before_any_pixel(side, reason):
    with pytest.raises(Refusal) as caught:
        decode_image(header_of_png(side, side))
    assert caught.value.reason == reason
    if reason == "too_large":
        assert (caught.value.measure, caught.value.value, caught.value.limit) == (
            "megapixels",
            side**2 / 1e6,
            64,
        )


@pytest.mark.parametrize("kind", pictures.IMAGE_SUFFIXES)
def test_all_kinds_are_read(kind):
    limit = Image.MAX_IMAGE_PIXELS
    assert decode_image(encoded(kind)).shape == (40, 30, 3)
    assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("data", [b"", b"no picture", encoded(".png")[:60], b"\x89PNG\r\n\x1a\n" + bytes(50)])
def test_files_that_are_not_pictures_are_refused(data):
    with pytest.raises(Refusal, match="not a picture"):
        decode_image(data)


def test_files_that_cannot_be_read_fail_alone(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(encoded(".png"))
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "._a.png").write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    files = image_files(tmp_path)
    assert [path.name for path in files] == ["a.png", "gone.png"]
    with pytest.raises(Refusal, match="cannot be read"):
        image_sha256(files[1])
    monkeypatch.setattr(pictures, "MAX_BYTES", 100)
    with pytest.raises(Refusal) as caught:
        read_image(files[0])
    assert caught.value.reason == "too_large"


def test_licences_of_names_that_are_not_text(tmp_path):
    (tmp_path / "LICENCES.json").write_text('{"b\\\\xe4d.png": "CC0", "c.png": {"licence": "CC BY"}}')
    assert folder_licences(tmp_path) == {"b\\xe4d.png": "CC0", "c.png": "CC BY"}
    (tmp_path / "LICENCES.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="is not JSON"):
        folder_licences(tmp_path)
