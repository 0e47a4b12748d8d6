"""Source videos to the clip table: shots, face tracks, crops, quality measures, gates."""
