"""Image features that the user already has: read instead of made, so that no image is needed. Needs no torch."""

from .aligned import read_given_features

__all__ = ["read_given_features"]
