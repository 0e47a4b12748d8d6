"""Data generation for MegActor: talking-head video in, Parquet-indexed training shards out."""

__version__ = "0.1.0"
