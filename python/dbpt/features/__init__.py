"""Image features: one pass of the frozen image tower per image, kept in a cache on disk. Needs no torch to import."""

from .cache import verify_cache
from .embed import Embeddings, Failure, embed_images
from .images import UnreadableImage, open_image

__all__ = ["Embeddings", "Failure", "UnreadableImage", "embed_images", "open_image", "verify_cache"]
