"""The format of a data set: WebDataset tars with a Parquet index; writing, random access, checks."""

from datagen.shards.reader import Dataset
from datagen.shards.writer import ShardMember, ShardWriter

__all__ = ["Dataset", "ShardMember", "ShardWriter"]
