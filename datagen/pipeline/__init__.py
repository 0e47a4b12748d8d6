"""The pipeline: its Python entry point, the stages, and what is still to do."""
