"""Torch models to ONNX folders: written, verified against their source, and only then put in place."""
