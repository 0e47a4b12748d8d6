"""Make shards from clip tables: swap, stylise, augment, mask, encode, pack."""
