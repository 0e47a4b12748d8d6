"""Source videos: manifests and their terms, listing, archives, roots."""
