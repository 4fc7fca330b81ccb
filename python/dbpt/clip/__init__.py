"""The frozen CLIP model: any open_clip model by name and tag, or a config file with local safetensors weights.

Nothing here is trained, and nothing is unpickled by dbpt. The stored description of a backbone, `Backbone.spec`, is
plain JSON. Names are looked up on first use: files and settings are checked before torch is imported.
"""

from typing import TYPE_CHECKING

from dbpt.lazy import on_first_use

if TYPE_CHECKING:
    from dbpt.clip.backbone import Backbone as Backbone
    from dbpt.clip.backbone import zero_shot_logits as zero_shot_logits
    from dbpt.clip.backbone import zero_shot_weights as zero_shot_weights
    from dbpt.clip.checks import check_spec as check_spec
    from dbpt.clip.load import checked_spec as checked_spec
    from dbpt.clip.load import load_backbone as load_backbone
    from dbpt.clip.load import load_backbone_from_spec as load_backbone_from_spec
    from dbpt.clip.spec import check_published as check_published
    from dbpt.clip.spec import published_repository as published_repository
    from dbpt.clip.spec import quiet_hub as quiet_hub

__getattr__, __dir__ = on_first_use(
    "dbpt.clip",
    backbone="Backbone zero_shot_logits zero_shot_weights",
    load="checked_spec load_backbone load_backbone_from_spec",
    spec="check_published published_repository quiet_hub",
    checks="check_spec",
)

__all__ = ["Backbone", "check_spec", "load_backbone", "load_backbone_from_spec"]
