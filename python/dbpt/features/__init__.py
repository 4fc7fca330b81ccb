"""Image features: one pass of the frozen image tower per image, stored in a cache. Importing needs no torch."""

from dbpt.features.embedding import EmbeddedFiles, Failure, TooManyFailures, embed_images
from dbpt.features.images import ImageSource, UnreadableImage, list_images, open_image, read_crop
from dbpt.features.maintenance import list_caches, prune_caches, verify_cache
from dbpt.features.measurements import MeasuredText, Measurements, measure_files

__all__ = ["EmbeddedFiles", "Failure", "ImageSource", "TooManyFailures", "UnreadableImage", "embed_images"]
__all__ += ["MeasuredText", "Measurements", "measure_files"]
__all__ += ["list_caches", "list_images", "open_image", "prune_caches", "read_crop", "verify_cache"]
