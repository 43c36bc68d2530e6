"""Fitted models as ONNX graphs, which run without gpubp."""
