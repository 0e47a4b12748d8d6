"""Folders and archives as sources."""

import io
import os
import tarfile

from datagen.sources.listing import list_sources
from datagen.sources.manifest import input_manifest


def listed(root, manifest=None, skip=None):
    return list_sources(root, manifest or input_manifest(), skip)


def absolute(root, item):
    return os.path.join(os.fsencode(root), item.path)


def tar_with(path, entries):
    with tarfile.open(path, "w") as tar:
        for name, content, kind in entries:
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(content)
            if kind == tarfile.SYMTYPE:
                info.linkname, info.size = "/etc/passwd", 0
            tar.addfile(info, io.BytesIO(content) if info.size else None)
