"""Image features that the user already has: read instead of made, so that no image is needed. Needs no torch."""

from dbpt.data.precomputed.aligned import check_given_file, read_given_features

__all__ = ["check_given_file", "read_given_features"]
