"""Image features: one pass of the frozen image tower per image, kept in a cache on disk. Needs no torch to import."""

from .cache import verify_cache
from .embed import Embeddings, Failure, embed_images
from .images import UnreadableImage, decoding_threads, open_image, pillow_warnings, read_pixels, read_size

__all__ = [
    "Embeddings",
    "Failure",
    "UnreadableImage",
    "decoding_threads",
    "embed_images",
    "open_image",
    "pillow_warnings",
    "read_pixels",
    "read_size",
    "verify_cache",
]
