"""Face analysis: detection, landmarks, irises, pose, identity, foreground."""

from datagen.faces.mediapipe.analyser import FaceAnalyser
from datagen.faces.smoothing import smooth
from datagen.faces.types import Detection, Faces
from datagen.weights.onnx import ModelInfo

__all__ = ["Detection", "FaceAnalyser", "Faces", "ModelInfo", "smooth"]
