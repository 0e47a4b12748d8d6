"""Data generation for MegActor: talking-head video in, Parquet-indexed training shards out."""

from datagen.common.version import __version__ as __version__
