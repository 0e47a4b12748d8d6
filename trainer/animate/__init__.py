"""Inference: videos from a trained model. Below `trainer.train`, whose validation videos are made by the same code."""
