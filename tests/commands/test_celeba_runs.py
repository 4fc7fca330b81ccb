"""A run on another task than CelebA's usual one, and those who read its data again: `evaluate`, `label`, `--resume`."""

import dbpt
import dbpt.data.demo

TASK = {"celeba_target": "Smiling", "celeba_attributes": ("Male", "Wearing_Lipstick")}


def test_a_run_keeps_its_task(tiny, tmp_path):
    faces = dbpt.data.demo._write("demo-celeba", tmp_path / "celeba", 0, (64, 32, 32))
    settings = tiny.settings | {"attributes": None, "epochs": 1, "baselines": False, "root": str(faces)}
    run = dbpt.fit("celeba", out=tmp_path / "run", **settings, **TASK)
    classifier = dbpt.load(run.folder)
    assert {name: getattr(classifier.config, name) for name in TASK} == TASK
    assert classifier.class_names == ("not smiling", "smiling")
    assert len(classifier.words.attributes) == 4

    found = dbpt.evaluate(run.folder, "celeba", root=faces, cache=str(tiny.cache)).to_dict()
    assert found["dataset"]["counts"] == run.to_dict()["dataset"]["counts"]
    assert found["rows"][0]["test"]["groups"] == run.to_dict()["rows"][-1]["test"]["groups"]
    design = dbpt.draw_label_sample(run.folder, out=tmp_path / "sample", n=8, cache=str(tiny.cache))
    assert design.attributes == classifier.words.attributes
