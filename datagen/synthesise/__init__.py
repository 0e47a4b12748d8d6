"""From the clip table to shards: swap, stylise, augment, mask, encode, pack."""
