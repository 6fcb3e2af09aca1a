"""LowDiff in JAX: image generation as a cascade of increasing resolutions."""

__version__ = "0.1.0"
