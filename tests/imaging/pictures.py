"""Picture files made in memory."""

import struct
import zlib

import cv2
import numpy as np


def header_of_png(width, height):
    """A PNG with a header of this size and no pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def encoded(kind, size=(40, 30)):
    image = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    return cv2.imencode(kind, image)[1].tobytes()
