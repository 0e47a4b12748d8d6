"""Portraits from installed packages, and invented people made from them.

Two public-domain photographs are in wheels that the project needs anyway. The other people are made by code: the face
of one photograph gets features of the other and changed proportions, until dlib's network sees a person different
from both (for the distances see `INVENTED`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import skimage.data

from datagen.bundled.talking_head import Head
from datagen.common.errors import UserError
from datagen.faces import FaceAnalyser, geometry
from datagen.faces.topology import FACE_OVAL, INNER_LIPS, OUTER_LIPS, TRIANGLES
from datagen.imaging.warp import draw_triangles, grid_size, triangle_affines

SIDE = 512


@dataclass(frozen=True, eq=False)
class BundledPortrait:
    """A portrait that may be shown and used as a donor.

    Attributes:
        name: short and unique, lower case.
        image: uint8 RGB (512, 512, 3).
        origin: the portrait's source, or how it was made.
        licence: the portrait's terms of use.
        landmarks: (468, 3) float32.
    """

    name: str
    image: np.ndarray
    origin: str
    licence: str
    landmarks: np.ndarray


@dataclass(frozen=True)
class Invention:
    """How an invented person is made; 0 means no change.

    Attributes:
        base: name of the photograph that is changed.
        other: name of the photograph that gives features.
        shape: share of the difference to the other's face shape that is added; negative moves away from it.
        skin: share of the other's skin below the eyes.
        jaw, nose, eyes, brows, mouth, length: enlargement of that part as a share, negative to make it smaller.
        apart: distance by which the eyes move apart, in eye distances.
        flip: mirror the picture.
        tone, hair: shifts in Lab of the skin and of the hair above the forehead.
    """

    base: str
    other: str
    shape: float
    skin: float
    jaw: float = 0.0
    nose: float = 0.0
    eyes: float = 0.0
    brows: float = 0.0
    mouth: float = 0.0
    length: float = 0.0
    apart: float = 0.0
    flip: bool = True
    tone: tuple[float, float, float] = (0.0, 0.0, 0.0)
    hair: tuple[float, float, float] = (0.0, 0.0, 0.0)


INVENTED = {
    "bea": Invention(
        "astronaut", "hopper", shape=-0.58, skin=0.55, jaw=-0.17, nose=-0.23, eyes=0.24, brows=0.17, mouth=0.08,
        length=0.05, apart=-0.13, tone=(6, 2, 2), hair=(-30, 4, 4),
    ),
    "bert": Invention(
        "astronaut", "hopper", shape=-0.11, skin=0.35, jaw=0.3, nose=0.3, eyes=0.04, brows=0.4, mouth=-0.18,
        length=0.2, apart=-0.16, tone=(-12, 4, 2), hair=(-34, 4, 4),
    ),
    "clara": Invention(
        "hopper", "astronaut", shape=1.0, skin=0.6, jaw=-0.25, nose=-0.3, eyes=-0.1, brows=0.15, mouth=-0.2,
        length=-0.02, apart=-0.2, tone=(8, -4, 7),
    ),
}  # fmt: skip
"""Found by a random search for a large identity distance to both photographs, among portraits that `check_portrait`
accepts. Distances to astronaut and hopper: bea 0.61 and 0.76, bert 0.63 and 0.66, clara 0.69 and 0.61; pictures of one
person are below 0.6 apart."""


@cache
def photographs() -> tuple[BundledPortrait, ...]:
    """The two photographs, from scikit-image and matplotlib."""
    hopper = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    data = cv2.imread(str(hopper))
    if data is None:
        raise UserError("matplotlib's sample_data/grace_hopper.jpg is missing; reinstall matplotlib")
    collins = skimage.data.astronaut()[8:264, 98:354]
    return (
        _portrait(
            "astronaut",
            cv2.resize(collins, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC),
            "Eileen Collins, photograph by NASA, 1999; scikit-image's astronaut, cropped and enlarged",
            "public domain (NASA)",
        ),
        _portrait(
            "hopper",
            cv2.cvtColor(data, cv2.COLOR_BGR2RGB)[:SIDE],
            "Grace Hopper, photograph by James S. Davis for the US Navy, 1984; matplotlib's sample, cropped",
            "public domain (US Navy)",
        ),
    )


@cache
def portraits() -> tuple[BundledPortrait, ...]:
    """The photographs and the invented people."""
    known = {portrait.name: portrait for portrait in photographs()}
    return (*known.values(), *(invent(name, how, known) for name, how in INVENTED.items()))


def invent(name: str, how: Invention, known: dict[str, BundledPortrait]) -> BundledPortrait:
    """Portrait of an invented person; `known` are the photographs by name."""
    base, other = known[how.base], known[how.other]
    head = Head(base.image, base.landmarks)
    bend_NC = _shape(base.landmarks, other.landmarks, how) + head.shut_NC
    moved_PC = head.displaced(bend_NC)
    shape_NC = moved_PC[: len(bend_NC)]
    image = head.mouth.draw(head.render(moved_PC), moved_PC)
    image = _with_skin(image, shape_NC, other, how.skin)
    face_HW = cv2.fillPoly(
        np.zeros(image.shape[:2], np.float32), [np.round(shape_NC[FACE_OVAL, :2]).astype(np.int32)], 1
    )
    image = _toned(image, shape_NC[[50, 280, 151], :2], how.tone, np.ones_like(face_HW))
    above = shape_NC[10, :2] + (shape_NC[10, :2] - shape_NC[168, :2]) * np.array([[0.7], [1.0]])
    image = _toned(image, above, how.hair, 1 - face_HW)
    if how.flip:
        image = np.ascontiguousarray(image[:, ::-1])
    return _portrait(
        name,
        image,
        f"nobody: made by code from {how.base} (shape and picture) and {how.other} (features)",
        "CC0-1.0; parents in the public domain",
    )


def _portrait(name: str, image: np.ndarray, origin: str, licence: str) -> BundledPortrait:
    analyser = FaceAnalyser()
    landmarks, _ = analyser.landmarks(image, analyser.detect(image)[0])
    for array in (image, landmarks):
        array.setflags(write=False)
    return BundledPortrait(name, image, origin, licence, landmarks)


def _shape(base_NC: np.ndarray, other_NC: np.ndarray, how: Invention) -> np.ndarray:
    """Displacement (N, 3) of the base's landmarks."""
    unit = float(geometry.eye_distance(base_NC))
    x, y = _axes(base_NC)
    to_base, _ = cv2.estimateAffinePartial2D(other_NC[FACE_OVAL, :2], base_NC[FACE_OVAL, :2])
    aligned_NC = other_NC[:, :2] @ to_base[:, :2].T + to_base[:, 2]
    difference = aligned_NC - base_NC[:, :2]
    mouth = np.concatenate(
        [INNER_LIPS, OUTER_LIPS]
    )  # moves as a whole, so that it keeps the base's expression
    difference[mouth] = difference[mouth].mean(axis=0)
    bend = how.shape * difference
    for middle, reach, grow in (
        ((0.0, 1.55), (1.1, 0.6), (how.jaw, 0.0)),
        ((0.0, 0.55), (0.45, 0.6), (how.nose, 0.6 * how.nose)),
        ((-0.5, 0.0), (0.4, 0.3), (how.eyes, how.eyes)),
        ((0.5, 0.0), (0.4, 0.3), (how.eyes, how.eyes)),
        ((0.0, -0.35), (1.0, 0.3), (0.0, how.brows)),
        ((0.0, 1.05), (0.6, 0.35), (how.mouth, 0.5 * how.mouth)),
        ((0.0, 0.6), (1.6, 1.4), (0.0, how.length)),
    ):
        near = np.exp(-(((x - middle[0]) / reach[0]) ** 2) - ((y - middle[1]) / reach[1]) ** 2)
        bend = bend + unit * near[:, None] * np.column_stack(
            [grow[0] * (x - middle[0]), grow[1] * (y - middle[1])]
        )
    eyes = np.exp(-(((np.abs(x) - 0.5) / 0.4) ** 2) - ((y + 0.1) / 0.45) ** 2)
    bend[:, 0] += 0.5 * how.apart * unit * eyes * np.sign(x)
    return np.column_stack([bend, np.zeros(len(bend))])


def _axes(landmarks_NC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """X and y (N,) of the landmarks from the middle between the eyes, in eye distances."""
    middle = landmarks_NC[[33, 133, 263, 362], :2].mean(axis=0)
    offset = (landmarks_NC[:, :2] - middle) / float(geometry.eye_distance(landmarks_NC))
    return offset[:, 0], offset[:, 1]


def _with_skin(image: np.ndarray, shape_NC: np.ndarray, other: BundledPortrait, share: float) -> np.ndarray:
    """Blend a share of the other's face, shifted to the image's mean colour, into the skin below the eyes."""
    height, width = image.shape[:2]
    nearest = draw_triangles(shape_NC, TRIANGLES, grid_size(height, width))
    affines = triangle_affines(shape_NC, other.landmarks, TRIANGLES)[np.maximum(nearest, 0)]
    y, x = np.mgrid[0:height:2, 0:width:2]
    source = affines[..., 0, :] * x[..., None] + affines[..., 1, :] * y[..., None] + affines[..., 2, :]
    source = cv2.resize(source.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    drawn = cv2.remap(
        other.image, source[..., 0], source[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    unit = float(geometry.eye_distance(shape_NC))
    covered = cv2.resize(nearest.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST) >= 0
    inside = cv2.erode(
        covered.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (int(0.35 * unit) | 1,) * 2)
    )
    below = cv2.fillConvexPoly(np.zeros_like(inside), _below_eyes(shape_NC, unit), 1)
    weight = share * cv2.GaussianBlur((inside * below).astype(np.float32), (0, 0), 0.12 * unit)[..., None]
    lab, drawn_lab = (cv2.cvtColor(p.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) for p in (image, drawn))
    face = inside > 0
    drawn_lab += lab[face].mean(axis=0) - drawn_lab[face].mean(axis=0)
    return _rgb(lab + weight * (drawn_lab - lab))


def _below_eyes(shape_NC: np.ndarray, unit: float) -> np.ndarray:
    """Corners (4, 2) int32 of a rectangle that covers the face below the eyes and any glasses."""
    right, left = shape_NC[33, :2], shape_NC[263, :2]
    across = (left - right) / np.linalg.norm(left - right)
    down = np.array([-across[1], across[0]])
    middle = (left + right) / 2 + 0.62 * unit * down
    corners = [
        middle + a * 4 * unit * across + b * 4 * unit * down for a, b in ((-1, 0), (1, 0), (1, 1), (-1, 1))
    ]
    return np.round(corners).astype(np.int32)


def _toned(
    image: np.ndarray, points_MC: np.ndarray, tone: tuple[float, float, float], where_HW: np.ndarray
) -> np.ndarray:
    """Shift the colour of all pixels that are coloured like the picture at the given points, weighted by `where_HW`."""
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    like = lab[tuple(np.round(points_MC[:, ::-1]).astype(int).T)].mean(axis=0)
    unlike = np.linalg.norm((lab - like) / [45, 14, 16], axis=-1)
    weight = np.clip(1.6 - unlike, 0, 1).astype(np.float32) * where_HW
    weight = cv2.GaussianBlur(weight, (0, 0), 2)[..., None]
    return _rgb(lab + weight * np.array(tone, np.float32))


def _rgb(lab: np.ndarray) -> np.ndarray:
    rgb = cv2.cvtColor(lab.astype(np.float32), cv2.COLOR_LAB2RGB)
    return np.clip(np.round(255 * rgb), 0, 255).astype(np.uint8)
