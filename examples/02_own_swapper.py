"""Make a data set with a swap backend of your own, `paste_swap.py`."""

from __future__ import annotations

import sys

from small_set import WORK, small_set

from datagen.shards import Dataset

# What `pip install` writes for a package that offers the backend.
METADATA = "Metadata-Version: 2.1\nName: paste-swap\nVersion: 1.0\n"
ENTRY_POINTS = "[megactor_datagen.swap]\npaste = paste_swap:build\n"


def main() -> None:
    """Make `out/examples/own-swapper` and print how well its swaps keep the motion."""
    package = WORK / "packages" / "paste_swap-1.0.dist-info"
    package.mkdir(parents=True, exist_ok=True)
    (package / "METADATA").write_text(METADATA)
    (package / "entry_points.txt").write_text(ENTRY_POINTS)
    sys.path.append(str(package.parent.resolve()))

    # A pasted face keeps the donor's expression, so its limits are wide here.
    wide = ("gates.swap_mouth_rms=0.5", "gates.swap_eyes_rms=0.5")
    out = small_set("own-swapper", "swap.backend=paste", *wide)
    for row in Dataset(out, where="donor is not null").table.to_pylist():
        print(
            f"{row['clip_id']}: swapped by {row['swapper']!r} with {row['donor']}, "
            f"head pose within {row['swapped_pose_rms']:.1f} degrees RMS, mouth {row['swapped_mouth_rms']:.3f}"
        )
    print(f"look at {out / 'sheet.png'}")


if __name__ == "__main__":
    main()
