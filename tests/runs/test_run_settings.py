"""The settings that a run folder keeps, and what a result shows of itself."""

import shutil

import pytest
from tiny import CLASSES

import dbpt
from dbpt import InputError


@pytest.mark.parametrize(("content", "name"), [("", "data"), ("lr = 0.005\n", "data"), ('data = "t"\n', "baselines")])
def test_a_config_that_was_emptied_or_cut_is_refused_in_one_line(tiny, tiny_run, tmp_path, command, content, name):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    (run / "config.toml").write_text(content)
    expected = f"Error: {run / 'config.toml'}: lacks {name}; the file was changed, fit again\n"
    image = tiny.table.parent / tiny.rows()[0]["path"]
    assert command("evaluate", run, tiny.table, "--cache", tiny.cache) == (2, "", expected)
    assert command("predict", run, image) == (2, "", expected)
    with pytest.raises(InputError, match=rf"config\.toml: lacks {name}"):
        dbpt.fit(tiny.table, out=run, resume=True, **tiny.settings)


def test_a_classifier_is_short_in_a_notebook(tiny_run):
    shown = repr(dbpt.load(tiny_run))
    assert all(name in shown for name in CLASSES) and len(shown) < 500
