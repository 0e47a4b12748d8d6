"""The embedded backend on real pictures and videos."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest
from skimage import data

from datagen.faces import FaceAnalyser, geometry, topology
from datagen.faces.identity import SAME_PERSON
from datagen.faces.mediapipe import shipped as models


def _eyes(landmarks: np.ndarray) -> np.ndarray:
    return landmarks[topology.EYE_CORNERS, :2].mean(axis=1)


def test_landmarks_agree_with_the_detector(analyser: FaceAnalyser, astronaut: np.ndarray):
    (face,) = analyser.detect(astronaut)
    landmarks, presence = analyser.landmarks(astronaut, face)
    scale = geometry.eye_distance(landmarks)
    assert presence > 0.99
    assert np.linalg.norm(_eyes(landmarks) - face.points[:2], axis=1).max() < 0.15 * scale
    assert np.linalg.norm(landmarks[topology.NOSE_TIP, :2] - face.points[2]) < 0.2 * scale
    assert _eyes(landmarks)[0, 0] < _eyes(landmarks)[1, 0]  # the person's right eye is on the left


def test_irises_lie_in_the_eyes(
    analyser: FaceAnalyser, astronaut: np.ndarray, astronaut_landmarks: np.ndarray
):
    irises = analyser.irises(astronaut, astronaut_landmarks)
    grey = astronaut.mean(axis=-1)
    for iris, ring in zip(irises, (topology.RIGHT_EYE, topology.LEFT_EYE), strict=True):
        contour = astronaut_landmarks[ring, :2]
        assert cv2.pointPolygonTest(contour, iris[0].tolist(), False) > 0
        x, y = np.rint(iris[0]).astype(int)
        assert grey[y, x] < 110  # dark: an iris or its pupil
        assert np.linalg.norm(iris[1:] - iris[0], axis=1).max() < 0.35 * np.ptp(contour[:, 0])


@pytest.mark.parametrize("degrees", [-40, 25])
def test_a_tilted_head_has_the_landmarks_of_an_upright_one(
    analyser: FaceAnalyser, astronaut: np.ndarray, astronaut_landmarks: np.ndarray, degrees: float
):
    matrix = cv2.getRotationMatrix2D((225, 130), -degrees, 1.0)
    tilted = cv2.warpAffine(astronaut, matrix, (512, 512))
    landmarks, presence = analyser.landmarks(tilted, analyser.detect(tilted)[0])
    expected = astronaut_landmarks[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    error = np.linalg.norm(landmarks[:, :2] - expected, axis=1).mean()
    assert presence > 0.99
    assert error < 0.04 * geometry.eye_distance(landmarks)
    turned = geometry.pose(landmarks) - geometry.pose(astronaut_landmarks)
    assert turned == pytest.approx([0, 0, degrees], abs=4)


@pytest.mark.parametrize("name", ["coffee", "chelsea", "rocket", "brick"])
def test_pictures_without_people_have_no_faces(analyser: FaceAnalyser, name: str):
    picture = getattr(data, name)()
    rgb = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    assert analyser.detect(np.ascontiguousarray(rgb)) == []


def test_noise_and_emptiness_have_no_faces(analyser: FaceAnalyser):
    noise = np.random.default_rng(0).integers(0, 256, (300, 401, 3), np.uint8)
    assert analyser.detect(noise) == []
    assert analyser.detect(np.zeros((1, 1, 3), np.uint8)) == []


def test_presence_is_low_where_there_is_no_face(
    analyser: FaceAnalyser, astronaut: np.ndarray, astronaut_landmarks: np.ndarray
):
    elsewhere = astronaut_landmarks + np.array([30, 250, 0], np.float32)
    assert analyser.follow(astronaut, elsewhere)[1] < 0.1


@pytest.mark.parametrize("side", [36, 60, 120])
def test_small_faces_are_found_in_large_frames(
    analyser: FaceAnalyser, astronaut: np.ndarray, astronaut_landmarks: np.ndarray, side: int
):
    box = geometry.face_box(astronaut_landmarks)
    scale = side / float(box[3] - box[1])
    portrait = cv2.resize(astronaut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    frame = np.full((1080, 1920, 3), 90, np.uint8)
    height, width = portrait.shape[:2]
    frame[300 : 300 + height, 1100 : 1100 + width] = portrait
    (face,) = analyser.detect(frame)
    landmarks, presence = analyser.landmarks(frame, face)
    assert presence > 0.5
    expected = box * scale + np.array([1100, 300, 1100, 300])
    assert geometry.face_box(landmarks) == pytest.approx(expected, abs=0.1 * side)


def test_carphone_is_followed_throughout(analyser: FaceAnalyser, carphone: np.ndarray):
    faces = analyser.track(carphone)
    assert len(faces) == 120
    assert (faces.presence > 0.5).all()
    assert faces.landmarks.shape == (120, 468, 3) and faces.irises.shape == (120, 2, 5, 2)
    assert np.isfinite(faces.landmarks).all() and np.isfinite(faces.pose).all()
    centres = (faces.box[:, :2] + faces.box[:, 2:]) / 2
    assert np.linalg.norm(np.diff(centres, axis=0), axis=1).max() < 12
    for index in (0, 59, 119):
        alone = analyser.landmarks(carphone[index], analyser.detect(carphone[index])[0])[0]
        drift = np.linalg.norm(alone[:, :2] - faces.landmarks[index, :, :2], axis=1).mean()
        assert drift < 0.1 * geometry.eye_distance(alone)


def test_tracking_is_repeatable_and_takes_any_iterable(analyser: FaceAnalyser, carphone: np.ndarray):
    first = analyser.track(carphone[:10])
    second = FaceAnalyser().track(frame for frame in carphone[:10])
    assert np.array_equal(first.landmarks, second.landmarks)
    assert np.array_equal(first.irises, second.irises)


def test_a_face_that_vanishes_is_absent_and_found_again(analyser: FaceAnalyser, carphone: np.ndarray):
    film = carphone[:30].copy()
    film[8:14] = 128
    faces = analyser.track(film)
    assert np.flatnonzero(faces.presence == 0).tolist() == list(range(8, 14))
    assert np.isnan(faces.landmarks[8:14]).all() and np.isnan(faces.pose[8:14]).all()
    assert np.isfinite(faces.landmarks[14:]).all()


def test_another_face_does_not_capture_the_track(
    analyser: FaceAnalyser, astronaut: np.ndarray, carphone: np.ndarray
):
    left = cv2.resize(astronaut[:256, 96:352], (384, 384))
    film = np.zeros((20, 384, 384 + 469, 3), np.uint8)
    film[:, :, :384] = left
    for index in range(20):
        film[index, :, 384:] = cv2.resize(carphone[index], (469, 384))
    film[6:12, :, :384] = 0
    first = min(analyser.detect(film[0]), key=lambda face: face.box[0])
    faces = analyser.track(film, first)
    assert np.flatnonzero(faces.presence == 0).tolist() == list(range(6, 12))
    assert np.nanmax(faces.box[:, 2]) < 384


def test_a_fast_face_is_not_lost(analyser: FaceAnalyser, astronaut: np.ndarray):
    portrait = astronaut[:256, 96:352]
    places = (150 + 150 * np.sin(np.arange(16) / 2)).astype(int)
    film = np.zeros((16, 256, 600, 3), np.uint8)
    for frame, x in zip(film, places, strict=True):
        frame[:, x : x + 256] = portrait
    faces = analyser.track(film)
    assert (faces.presence > 0.5).all()
    moved = faces.landmarks[:, topology.NOSE_TIP, 0] - places
    assert np.ptp(moved) < 4


def test_a_video_without_faces_has_no_landmarks(analyser: FaceAnalyser):
    faces = analyser.track(np.zeros((3, 64, 80, 3), np.uint8))
    assert faces.presence.tolist() == [0, 0, 0]
    assert faces.landmarks.shape == (3, 468, 3)
    assert len(analyser.track([])) == 0


def test_identity_tells_people_apart(
    analyser: FaceAnalyser, astronaut: np.ndarray, astronaut_landmarks: np.ndarray, carphone: np.ndarray
):
    pytest.importorskip("dlib")
    woman = analyser.embed(astronaut, astronaut_landmarks)
    mirrored = np.ascontiguousarray(astronaut[:, ::-1])
    again = analyser.embed(mirrored, analyser.landmarks(mirrored, analyser.detect(mirrored)[0])[0])
    faces = analyser.track(carphone[:60:20])
    man = [
        analyser.embed(frame, points) for frame, points in zip(carphone[:60:20], faces.landmarks, strict=True)
    ]
    assert woman.shape == (128,) and woman.dtype == np.float32
    assert np.linalg.norm(woman - again) < 0.4
    assert max(np.linalg.norm(man[0] - other) for other in man[1:]) < SAME_PERSON - 0.1
    assert min(np.linalg.norm(woman - other) for other in man) > SAME_PERSON + 0.1


def test_foreground_covers_the_head_and_spares_the_background(
    analyser: FaceAnalyser, astronaut: np.ndarray, astronaut_landmarks: np.ndarray
):
    mask = analyser.foreground(astronaut)
    assert mask.shape == (512, 512) and mask.dtype == np.float32
    assert mask.min() >= 0 and mask.max() <= 1
    head = np.zeros((512, 512), np.uint8)
    cv2.fillPoly(head, [np.rint(astronaut_landmarks[topology.FACE_OVAL, :2]).astype(np.int32)], 1)
    assert (mask[head == 1] > 0.9).mean() > 0.99
    assert mask[40:60, 200:250].min() > 0.9  # her hair
    assert mask[:40, 350:].max() < 0.2
    assert analyser.foreground(astronaut[:99, :201]).shape == (99, 201)


def test_two_people_keep_their_own_tracks(analyser: FaceAnalyser, two_people: np.ndarray):
    man, woman = sorted(analyser.detect(two_people[0]), key=lambda face: face.box[0])
    followed = [analyser.track(two_people, person) for person in (man, woman)]
    assert np.nanmax(followed[0].box[:, 2]) < 660 < np.nanmin(followed[1].box[:, 0])
    assert (followed[0].presence > 0.5).mean() > 0.9  # a few frames in full profile are lost
    assert (followed[1].presence > 0.5).all()
    assert np.nanmin(followed[1].pose[:, 0]) < -40  # she turns to the left of the picture


def test_a_bearded_man_is_followed(analyser: FaceAnalyser, bearded: np.ndarray):
    assert (analyser.track(bearded).presence > 0.9).all()


def test_a_distant_face_is_measured_well_at_first_sight(analyser: FaceAnalyser, vertical: np.ndarray):
    pytest.importorskip("dlib")
    embeddings = []
    for frame in vertical:
        (face,) = analyser.detect(frame)
        landmarks, presence = analyser.landmarks(frame, face)
        assert presence > 0.9
        embeddings.append(analyser.embed(frame, landmarks))
    assert max(np.linalg.norm(embeddings[0] - other) for other in embeddings[1:]) < SAME_PERSON


def test_listing_the_models_loads_no_network(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise AssertionError("a network was opened")

    monkeypatch.setattr(models.onnxruntime, "InferenceSession", refuse)
    found = FaceAnalyser().models
    assert {model.name for model in found} >= {"blazeface_short", "face_mesh", "iris", "selfie"}
    assert all(len(model.sha256) == 64 and model.licence and model.version for model in found)


_DIGEST = """
import hashlib, numpy as np
from skimage import data
from datagen.faces import FaceAnalyser
rgb = np.ascontiguousarray(data.astronaut())
analyser = FaceAnalyser()
face = analyser.detect(rgb)[0]
points, presence = analyser.landmarks(rgb, face)
parts = [face.box, face.points, points, np.float64(presence), analyser.irises(rgb, points),
         analyser.embed(rgb, points), analyser.foreground(rgb)]
print(hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest())
"""


def test_two_processes_get_the_same_numbers():
    pytest.importorskip("dlib")
    command = [sys.executable, "-c", _DIGEST]
    digests = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert digests[0] == digests[1] != ""
