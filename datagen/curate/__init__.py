"""From source videos to the clip table: shots, tracks, crops, measured quality, gates."""
