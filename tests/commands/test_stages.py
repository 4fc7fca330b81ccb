"""The stages before training: run once for many trainings they give what `prepare` gives for each."""

import numpy as np
import pytest

from dbpt.errors import InputError
from dbpt.settings.config import FitConfig
from dbpt.study.stages import add_pseudo_attributes, arrange, load_and_embed, prepare

CHOICES = ({"seed": 0}, {"seed": 3, "head": "linear", "objective": "groupdro", "group_source": "true"})


def test_one_embedding_serves_trainings_of_other_seeds_heads_and_objectives(tiny):
    rows = [row for row in tiny.rows() if row["split"] != "val"]
    table = tiny.write("no-val-stages", rows)
    settings = {"data": str(table), **tiny.settings, "pseudo_method": "kmeans"}
    configs = [FitConfig(**settings, **choice) for choice in CHOICES]
    embedded = load_and_embed(configs)
    together = [arrange(add_pseudo_attributes(embedded, config), config) for config in configs]
    for config, study in zip(configs, together, strict=True):
        alone = prepare(config)
        assert study.config == config
        assert study.embedded.features.digest == alone.embedded.features.digest
        assert study.embedded.zero_shot.weights.tobytes() == alone.embedded.zero_shot.weights.tobytes()
        np.testing.assert_array_equal(study.splits, alone.splits)
        np.testing.assert_array_equal(study.grouping("pseudo").groups, alone.grouping("pseudo").groups)
        assert study.warnings == alone.warnings[: len(study.warnings)]
    assert (together[0].splits != together[1].splits).any()  # the rows set aside are the seed's


def test_what_any_of_them_lacks_is_refused_before_the_images_are_read(tiny, bare, logged):
    settings = {"data": str(bare), **tiny.settings}
    configs = [FitConfig(**settings), FitConfig(**settings, objective="groupdro", group_source="true")]
    with pytest.raises(InputError, match="^--group-source true: .* has no attribute"):
        load_and_embed(configs)
    assert not any(line.startswith("features:") for line in logged.messages)
    with pytest.raises(InputError, match="n_ctx"):
        load_and_embed([FitConfig(**settings | {"n_ctx": 40, "head": head}) for head in ("linear", "prompt")])
