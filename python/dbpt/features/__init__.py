"""Image features: one pass of the frozen image tower per image, stored in a cache. Importing needs no torch."""

from dbpt.features.embedding import EmbeddedFiles, Failure, TooManyFailures, embed_images
from dbpt.features.images import (
    ImageSource,
    UnreadableImage,
    decoding_threads,
    is_one_image,
    list_images,
    open_image,
    pillow_warnings,
    read_crop,
    read_size,
)
from dbpt.features.maintenance import list_caches, prune_caches, verify_cache

__all__ = ["EmbeddedFiles", "Failure", "ImageSource", "TooManyFailures", "UnreadableImage", "decoding_threads"]
__all__ += ["embed_images", "is_one_image", "list_caches", "list_images", "open_image", "pillow_warnings"]
__all__ += ["prune_caches", "read_crop", "read_size", "verify_cache"]
