"""Serving: bundles, preprocessing and prediction on numpy and ONNX Runtime, without torch."""
