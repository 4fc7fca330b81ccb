"""``--start-from``: a prompt starts as the trained context of another run."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from comparisons import compare
from launched import command, launch
from runs import fit
from safetensors.numpy import load_file
from tiny import options_of

import dbpt
from dbpt.commands.trained_methods import build_head
from dbpt.errors import InputError
from dbpt.settings.config import make_config
from dbpt.storage.tensors import write_tensors
from dbpt.study.stages import prepare


def context_of(run: Path) -> np.ndarray:
    return load_file(run / "prompt.safetensors")["context"]


def warm(start: Path, **settings: object) -> dict:
    return {"n_ctx": None, "start_from": start, **settings}


def saved(folder: Path, context: np.ndarray) -> Path:
    folder.mkdir()
    write_tensors(folder / "prompt.safetensors", {"context": context}, version=1)
    return folder / "prompt.safetensors"


@pytest.mark.parametrize("is_specific", [False, True])
def test_the_new_head_is_the_classifier_of_the_run(tiny, tmp_path, is_specific):
    settings = {"class_specific_context": is_specific}
    first = fit(tiny, tmp_path / "first", epochs=2, baselines=False, **settings)
    for start in (first, first / "prompt.safetensors"):
        config = make_config({"data": str(tiny.table), **tiny.settings, **warm(start, **settings)})
        head = build_head(prepare(config))
        assert head.context.detach().numpy().tobytes() == context_of(first).tobytes()
        weights = load_file(first / "classifier.safetensors")["weights"]
        np.testing.assert_allclose(head.weights().detach().numpy(), weights, atol=1e-6)


def test_a_fit_goes_on_from_there_and_a_resume_knows_the_start_by_its_content(tiny, tiny_run, tmp_path):
    start = shutil.copy(tiny_run / "prompt.safetensors", tmp_path / "start.safetensors")
    warm_run = fit(tiny, tmp_path / "run", **warm(start, epochs=3, baselines=False, model_selection="last"))
    moved = Path(shutil.move(start, tmp_path / "moved.safetensors"))
    before = (warm_run / "prompt.safetensors").read_bytes()
    assert np.abs(context_of(warm_run) - context_of(tiny_run)).max() > 0
    dbpt.fit(out=warm_run, resume=True, start_from=moved)
    assert (warm_run / "prompt.safetensors").read_bytes() == before
    other = saved(tmp_path / "other", context_of(tiny_run) + 1)
    with pytest.raises(InputError, match="other words or --start-from than"):
        dbpt.fit(out=warm_run, resume=True, start_from=other)


def test_all_ranks_start_from_the_file_of_the_first(tiny, tiny_run, tmp_path):
    alone = fit(tiny, tmp_path / "alone", **warm(tiny_run, epochs=3, baselines=False))
    settings = {name: value for name, value in tiny.settings.items() if name != "n_ctx"} | {"epochs": 3}
    arguments = ["fit", str(tiny.table), *options_of(settings), "--no-baselines", "--out", str(tmp_path / "run")]
    of_rank = {0: ["--start-from", str(tiny_run)], 1: ["--start-from", str(tmp_path / "nowhere")]}
    launch(tmp_path, 2, command, arguments, of_rank).finished()
    np.testing.assert_allclose(context_of(tmp_path / "run"), context_of(alone), rtol=1e-3, atol=1e-4)


def test_a_comparison_starts_every_prompt_there_and_knows_the_content(tiny, tiny_run, tmp_path):
    start = Path(shutil.copy(tiny_run / "prompt.safetensors", tmp_path / "start.safetensors"))
    choices = {"methods": "zero-shot,erm", "heads": "prompt", "seeds": 1, "n_ctx": None, "model_selection": "last"}
    found = compare(tiny, tmp_path / "c", **choices, start_from=start)
    settings = {"epochs": 3, "objective": "erm", "baselines": False, "model_selection": "last"}
    alone = fit(tiny, tmp_path / "run", **warm(start, **settings))
    cell = load_file(found.folder / "cells" / "erm_prompt_seed-0.safetensors")
    assert cell["classifier.weights"].tobytes() == load_file(alone / "classifier.safetensors")["weights"].tobytes()
    assert "--start-from" in (found.folder / "compare.html").read_text()
    start.unlink()
    write_tensors(start, {"context": context_of(tiny_run) + 1}, version=1)
    with pytest.raises(InputError, match="other images, labels, words or weights"):
        dbpt.compare(out=found.folder, resume=True)


def test_what_cannot_be_started_from_is_refused(tiny, tiny_run, tmp_path):
    context, out = context_of(tiny_run), tmp_path / "out"

    def refused(message: str, start: Path, **settings: object) -> None:
        with pytest.raises(InputError, match=message):
            fit(tiny, out, **warm(start, **settings))
        assert not out.exists()

    linear = fit(tiny, tmp_path / "linear", head="linear", epochs=1, baselines=False)
    refused(r"^--start-from .*: has no prompt.safetensors; name a finished run of the head prompt", linear)
    refused(r"nowhere.*(no such file|not found|does not exist|No such)", tmp_path / "nowhere")
    wide = saved(tmp_path / "wide", np.zeros((3, 7), np.float32))
    refused(rf"its context has width 7, the text tower of .* has {context.shape[-1]}; name a prompt that", wide)
    long = saved(tmp_path / "long", np.zeros((200, context.shape[-1]), np.float32))
    refused(r"200", long)
    bad = saved(tmp_path / "bad", np.full_like(context, np.nan))
    refused(r"prompt.safetensors: its context has NaN or an infinity", bad)
    each = saved(tmp_path / "each", np.stack([context] * 3))
    refused(r"has 3 contexts, the data have 2 classes; name a prompt of as many", each)
    refused(r"has 3 contexts, the data have 2 classes", each, class_specific_context=True)
    two = saved(tmp_path / "two", np.stack([context] * 2))
    refused(r"has a context for each class; add --class-specific-context$", two)
    refused(r"all classes share its context; drop --class-specific-context$", tiny_run, class_specific_context=True)
    refused(r"^--start-from .* with --n-ctx 4: the saved prompt has tokens of its own; drop one", tiny_run, n_ctx=4)
    refused(r"^--start-from .* with --ctx-init a photo: the saved prompt has tokens", tiny_run, ctx_init="a photo")
    refused(r"^--start-from .* with --head linear: it has no context to start; drop one", tiny_run, head="linear")
    with pytest.raises(InputError, match=r"with --head linear: it has no context"):
        compare(tiny, out, n_ctx=None, heads="prompt,linear", start_from=tiny_run)


def test_a_recipe_leaves_the_saved_tokens_alone(tiny_run):
    assert make_config({"recipe": "coop", "start_from": tiny_run}).n_ctx is None
