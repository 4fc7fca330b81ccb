"""The frozen CLIP model: any open_clip model by name and tag, or a config file with local safetensors weights.

Nothing here is trained, and nothing is unpickled by dbpt. The stored description of a backbone, `Backbone.spec`, is
plain JSON.
"""

from dbpt.clip.backbone import Backbone, zero_shot_logits, zero_shot_weights
from dbpt.clip.load import load_backbone, load_backbone_from_spec
from dbpt.clip.spec import check_spec

__all__ = ["Backbone", "check_spec", "load_backbone", "load_backbone_from_spec"]
