"""Video files: their properties, their frames at exact times, and bit-exact encoding.

All frames are RGB uint8, upright and with square pixels; all times are seconds. A failure that concerns one file is a
`datagen.common.errors.Refusal`, whose text is the same on every machine.
"""

from datagen.common.errors import KilledError
from datagen.media.decode import VideoReader, decode_bytes
from datagen.media.encode import X264, encode, frame_rate
from datagen.media.ffmpeg import FfmpegError, again_if_killed, bundled_ffmpeg, ffmpeg_version
from datagen.media.probe import VideoInfo, probe

__all__ = [
    "X264",
    "FfmpegError",
    "KilledError",
    "VideoInfo",
    "VideoReader",
    "again_if_killed",
    "bundled_ffmpeg",
    "decode_bytes",
    "encode",
    "ffmpeg_version",
    "frame_rate",
    "probe",
]
