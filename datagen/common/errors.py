"""The errors of the project: one for the user, one for a single source or clip, one for work that is repeated."""

from __future__ import annotations

from dataclasses import dataclass

REASONS: dict[str, str] = {
    "empty_file": "the file has no bytes",
    "unreadable": "the file cannot be opened or is not a video",
    "no_video": "the file has no video stream",
    "damaged": "the video stream cannot be decoded where it is needed",
    "unsafe_member": "an archive member points outside the archive or is a link",
    "no_face": "no face was found that could be followed",
    "too_short": "no shot of one face is long enough",
    "too_small": "the face would have to be enlarged beyond the recipe's limit",
    "too_dark": "mean luma below the gate",
    "blurred": "sharpness below the gate",
    "face_area": "the face fills too little of the clip",
    "framing": "too much of the crop lies outside the picture",
    "yaw": "the head turns away too far",
    "drawn_face": "the face does not look like a filmed one",
    "still": "the face does not move: a photograph, not a person",
    "gaze": "the eyes move less than the recipe asks for",
    "expression": "a donor does not look neutral: grimace, open mouth or closed eyes",
    "colourless": "a donor is black-and-white or has no skin colour",
    "covered": "a donor's eyes are behind dark or tinted glasses",
    "several_faces": "a donor portrait shows more than one face",
    "gate_motion": "pose, mouth or eyes of the result differ too much from the source",
    "gate_identity": "the result is not far enough from the source's identity",
    "gate_flicker": "the result flickers more than the recipe allows",
    "gate_expression": "the landmarks of the styled face differ too much from the source",
    "no_style": "no usable style",
    "no_donor": "no usable donor of another identity",
    "same_person": "the portrait shows someone who is in the pool already",
    "crashed": "working on the clip killed the process",
    "out_of_memory": "the clip does not fit into memory",
    "internal": "an unexpected error; please report it",
    "withdrawn": "consent was withdrawn",
    "changed": "the source is not the file that was curated",
    "timeout": "working on it took longer than the recipe's limit",
    "too_large": "a picture or archive member is larger than what can be worked on",
    "split_conflict": "the clip belongs with training and with validation or test clips of earlier waves",
}

PERMANENT: frozenset[str] = frozenset(
    (
        *("no_face", "too_short", "too_small", "too_dark", "blurred", "face_area", "framing", "yaw"),
        *("drawn_face", "still", "gaze", "expression", "colourless", "covered", "several_faces"),
        *("gate_motion", "gate_identity", "gate_flicker", "gate_expression"),
        *("no_style", "same_person", "withdrawn", "split_conflict"),
    )
)
"""Reasons that depend only on footage and recipe, so another try gives the same result.

`retry` leaves them out unless they are named.
"""


class UserError(Exception):
    """A problem that the user can fix; shown as one line, never as a traceback.

    Attributes:
        code: exit status of the command, 2 for bad usage, 1 for everything else.
    """

    def __init__(self, message: str, *, code: int = 1) -> None:
        super().__init__(" ".join(message.split()))
        self.code = code


@dataclass
class Refusal(Exception):  # noqa: N818 - a refusal is a normal outcome that becomes a failure row
    """One source or clip cannot be used. It becomes a failure row and the run goes on.

    Attributes:
        reason: a key of `REASONS`.
        message: one line with the numbers; the same on every machine (no paths, times or addresses).
        hint: what the user can do, or empty.
        measure, value, limit: name of the measure, its value and the limit, if a number decided.
    """

    reason: str
    message: str
    hint: str = ""
    measure: str | None = None
    value: float | None = None
    limit: float | None = None

    def __post_init__(self) -> None:
        if self.reason not in REASONS:
            raise ValueError(
                f"unknown failure reason {self.reason!r}; add it to datagen.common.errors.REASONS"
            )
        self.message = " ".join(self.message.split())

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"

    def __reduce__(self) -> tuple[type[Refusal], tuple[object, ...]]:
        return Refusal, (self.reason, self.message, self.hint, self.measure, self.value, self.limit)


class KilledError(RuntimeError):
    """ffmpeg was killed or got no memory. The input may be fine, so `datagen.media.again_if_killed` repeats the work.

    Attributes:
        how: what happened, in words.
        reason: the failure reason if the repetition fails too: `out_of_memory` or `crashed`.
    """

    def __init__(self, how: str, reason: str) -> None:
        super().__init__(f"ffmpeg {how}")
        self.how, self.reason = how, reason

    def __reduce__(self) -> tuple[type[KilledError], tuple[str, str]]:
        return KilledError, (self.how, self.reason)
