"""Artworks made by code: styles for the demonstration that need no download and are free of rights.

Each function imitates one kind of picture from a seeded generator; most repaint a free photograph that scikit-image
contains.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
import skimage.data

from datagen.common.seeding import keyed_rng

SIDE = 384
CC0 = "CC0-1.0"


@cache
def artworks() -> dict[str, tuple[np.ndarray, str, str]]:
    """Name to picture (384, 384, 3) uint8 RGB, origin and licence."""
    photographs = {
        "rocket": (skimage.data.rocket()[:, 100:527], "NASA photograph of a launch (public domain)"),
        "coffee": (skimage.data.coffee()[:, 100:500], "photograph by Rachel Michetti (CC0)"),
        "chelsea": (skimage.data.chelsea()[:, 75:375], "photograph by Stefan van der Walt (CC0)"),
        "hubble": (
            skimage.data.hubble_deep_field()[100:800, 100:800],
            "NASA/ESA photograph of galaxies (public domain)",
        ),
    }
    works: dict[str, tuple[np.ndarray, str, str]] = {}
    painters: tuple[tuple[str, Callable[[np.ndarray, np.random.Generator], np.ndarray], str], ...] = (
        ("strokes", brush_strokes, "rocket"),
        ("night", swirls, "hubble"),
        ("mosaic", mosaic, "coffee"),
        ("woodcut", woodcut, "chelsea"),
        ("watercolour", watercolour, "coffee"),
    )
    for name, paint, subject in painters:
        photograph, origin = photographs[subject]
        picture = cv2.resize(np.ascontiguousarray(photograph), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        works[name] = (
            paint(picture, keyed_rng(0, "artwork", name)),
            f"painted by code over scikit-image's {origin}",
            CC0,
        )
    works["blocks"] = (blocks(keyed_rng(0, "artwork", "blocks")), "painted by code", CC0)
    return works


def brush_strokes(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Short, thick strokes along the picture's contours, large ones first."""
    canvas = cv2.GaussianBlur(picture, (0, 0), 12)
    smooth = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 6)
    along = np.arctan2(cv2.Sobel(smooth, cv2.CV_32F, 0, 1), cv2.Sobel(smooth, cv2.CV_32F, 1, 0)) + np.pi / 2
    for length, width, count in ((34, 13, 700), (22, 8, 1800), (13, 4, 3200)):
        blurred = cv2.GaussianBlur(picture, (0, 0), width / 2)
        places = random.integers(0, SIDE, (count, 2))
        shades = random.normal(0, 16, (count, 3)) * [1, 0.8, 1.2] + random.normal(0, 10, (count, 1))
        for (x, y), shade in zip(places.tolist(), shades, strict=True):
            colour = np.clip(1.15 * (blurred[y, x].astype(float) - 128) + 128 + shade, 0, 255)
            reach = length / 2 * np.array([np.cos(along[y, x]), np.sin(along[y, x])])
            one, other = (tuple(np.round([x, y] + sign * reach).astype(int).tolist()) for sign in (-1, 1))
            cv2.line(canvas, one, other, tuple(colour.tolist()), width, cv2.LINE_AA)
    return _on_canvas(canvas, random, 7)


def swirls(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A night sky: blue and yellow strokes that circle a few lights."""
    canvas = np.full((SIDE, SIDE, 3), (18, 32, 84), np.uint8)
    lights = random.uniform(0.1, 0.9, (7, 2)) * SIDE
    spin = random.choice([-1.0, 1.0], 7)
    bright = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (0, 0), 3).astype(float) / 255
    palette = np.array(
        [(20, 40, 110), (42, 86, 160), (96, 146, 190), (240, 216, 110), (250, 240, 190)], float
    )
    for x, y in random.integers(0, SIDE, (5200, 2)).tolist():
        offset = np.array([x, y]) - lights
        distance = np.linalg.norm(offset, axis=1)
        weight = spin * np.exp(-distance / 70)
        turn = weight[:, None] * offset[:, ::-1] * [-1, 1] / (distance[:, None] + 1)
        flow = turn.sum(axis=0) + np.array([0.12, 0.02])
        flow *= 8 / np.linalg.norm(flow)
        glow = np.clip(1.5 * np.exp(-distance.min() / 26) + bright[y, x] + random.normal(0, 0.12), 0, 1)
        colour = [np.interp(glow * 4, range(5), palette[:, channel]) for channel in range(3)]
        one, other = ((round(x + sign * flow[0]), round(y + sign * flow[1])) for sign in (-1, 1))
        cv2.line(canvas, one, other, colour, 4, cv2.LINE_AA)
    return _on_canvas(canvas, random, 6)


def mosaic(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Small stones with light joints: the cells of a Voronoi diagram of a jittered grid."""
    step = 11
    y, x = np.mgrid[step // 2 : SIDE : step, step // 2 : SIDE : step]
    seeds = np.stack([x, y], axis=-1).reshape(-1, 2) + random.normal(0, 2.0, (x.size, 2))
    yy, xx = np.mgrid[0:SIDE, 0:SIDE]
    cell = np.stack([xx // step, yy // step], axis=-1)
    around = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), axis=-1).reshape(9, 2)
    near = np.clip(cell[:, :, None] + around, 0, len(x) - 1)
    index = near[..., 1] * len(x) + near[..., 0]
    distance = np.linalg.norm(seeds[index] - np.stack([xx, yy], axis=-1)[:, :, None], axis=-1)
    order = np.argsort(distance, axis=-1, kind="stable")
    stone = np.take_along_axis(index, order[..., :1], axis=-1)[..., 0]
    first, second = (np.take_along_axis(distance, order[..., k : k + 1], axis=-1)[..., 0] for k in (0, 1))
    middle = np.clip(np.round(seeds), 0, SIDE - 1).astype(int)
    colours = picture[middle[:, 1], middle[:, 0]].astype(float)
    colours = np.clip(1.25 * (colours - 128) + 132 + random.normal(0, 14, (len(seeds), 1)), 0, 255)
    mortar = np.clip((second - first) / 1.6, 0, 1)[..., None]
    return _bytes(mortar * colours[stone] + (1 - mortar) * [206, 196, 176])


def woodcut(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Black lines on cream paper, wider where the picture is darker."""
    grey = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (0, 0), 2).astype(np.float32)
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    wobble = 5 * cv2.GaussianBlur(random.normal(0, 1, (SIDE, SIDE)).astype(np.float32), (0, 0), 9) * 9
    waves = np.sin((0.35 * x + y + wobble + grey / 9) * 2 * np.pi / 7)
    tone = (grey - 118) / 60
    ink = 1 / (1 + np.exp(5 * (waves * 0.9 + tone)))
    return _on_canvas(
        _bytes(ink[..., None] * [30, 24, 26] + (1 - ink[..., None]) * [232, 214, 180]), random, 5
    )


def watercolour(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Light, flat colours with darker edges on grainy paper."""
    soft = picture
    for _ in range(4):
        soft = cv2.bilateralFilter(soft, 0, 34, 7)
    wash = cv2.GaussianBlur(np.round(soft.astype(np.float32) / 34) * 34, (0, 0), 1.2)
    rim = np.abs(cv2.Laplacian(cv2.GaussianBlur(wash, (0, 0), 1.5), cv2.CV_32F)).mean(axis=2, keepdims=True)
    blooms = (
        cv2.GaussianBlur(random.normal(0, 1, (SIDE, SIDE)).astype(np.float32), (0, 0), 16)[..., None] * 16
    )
    pale = 255 - 0.72 * (255 - wash) * (1 + 0.28 * blooms) - 2.2 * rim
    return _on_canvas(_bytes(pale), random, 8)


def blocks(random: np.random.Generator) -> np.ndarray:
    """Overlapping polygons in a few strong colours."""
    palette = [(214, 64, 46), (238, 186, 52), (36, 84, 150), (24, 28, 40), (236, 228, 208), (88, 138, 104)]
    canvas = np.full((SIDE, SIDE, 3), palette[4], np.uint8)
    for index in range(46):
        middle, size = random.uniform(0, SIDE, 2), random.uniform(20, 110) * (1 - index / 70)
        angles = np.sort(random.uniform(0, 2 * np.pi, random.integers(3, 6)))
        corners = middle + size * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
        colour = palette[int(random.integers(len(palette)))]
        cv2.fillPoly(canvas, [np.round(corners).astype(np.int32)], colour, cv2.LINE_AA)
        cv2.polylines(canvas, [np.round(corners).astype(np.int32)], True, palette[3], 2, cv2.LINE_AA)
    return _on_canvas(canvas, random, 6)


def _on_canvas(picture: np.ndarray, random: np.random.Generator, strength: float) -> np.ndarray:
    """The picture with the grain of canvas or paper: blurred noise of this strength."""
    grain = cv2.GaussianBlur(random.normal(0, 1, picture.shape[:2]).astype(np.float32), (0, 0), 0.8)
    return _bytes(picture.astype(np.float32) + strength * 1.6 * grain[..., None])


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)
