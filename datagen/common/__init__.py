"""Basics that every other folder uses: errors, configuration, hashes, seeds, text, logs."""
