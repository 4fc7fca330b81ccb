"""One torch thread: the models here are tiny, and tests share the machine's cores with their own worker processes.

And the tiny task that the end-to-end tests share, with one finished run on it; what they must not change.
"""

import gc
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import settings
from skips import pytest_make_collect_report, pytest_runtest_makereport  # noqa: F401 (hooks)

settings.register_profile("no deadline", deadline=None)  # no test depends on how busy the machine is
settings.load_profile("no deadline")
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
gc.set_threshold(100_000)  # a collection looks at all that torch has imported
os.fsync = lambda descriptor: None  # no test turns the computer off
MOST_PROCESSES = 8
"""More would spend most of their time on importing torch."""

# A shell without job control starts `pytest &` with Ctrl-C ignored; other programs block signals. Children inherit it.
for _number in (signal.SIGINT, signal.SIGTERM):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)
if sys.platform != "win32":
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Share the whole suite among the cores, with pytest-xdist. Without -n, named tests run in this process.

    Neighbours, which share fixtures, stay together until a process has nothing left to do.
    """
    of_all = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not hasattr(config, "workerinput")
    if of_all and config.pluginmanager.hasplugin("xdist") and config.option.numprocesses is None:
        options = config.option
        options.numprocesses, options.maxprocesses, options.dist = "logical", MOST_PROCESSES, "worksteal"


@pytest.fixture(scope="session", autouse=True)
def blank_charts():
    """Draw no chart, except in tests with `drawn_charts`."""
    from blank_charts import leave_blank

    leave_blank()


@pytest.fixture(scope="session", autouse=True)
def kept_thumbnails():
    """Make each thumbnail once; no test changes a picture that it has shown."""
    from functools import cache

    from dbpt.report import thumbnails

    thumbnails.thumbnail = cache(thumbnails.thumbnail)


@pytest.fixture
def drawn_charts(monkeypatch):
    """Draw charts as outside the tests."""
    from blank_charts import DRAW

    monkeypatch.setattr("dbpt.report.charts._rendered", DRAW)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The files of `tiny.make_tiny`. Tables may be added; nothing that is there may change."""
    from tiny import make_tiny

    return make_tiny(tmp_path_factory.mktemp("tiny") / "data")


@pytest.fixture
def registries(monkeypatch):
    """The registries, which forget at the end of the test what it registers."""
    from dbpt.data import DATASETS
    from dbpt.guesses import PSEUDO_METHODS
    from dbpt.heads import HEADS
    from dbpt.objectives import OBJECTIVES

    for registry in (OBJECTIVES, HEADS, DATASETS, PSEUDO_METHODS):
        monkeypatch.setattr(registry, "_classes", dict(registry._classes))


@pytest.fixture(scope="session")
def tiny_backbone(tiny):
    """The tiny CLIP."""
    from dbpt import load_backbone

    return load_backbone(tiny.model, tiny.weights)


@pytest.fixture(scope="session")
def tiny_features(tiny, tiny_backbone, tmp_path_factory) -> Path:
    """A file with the features of the tiny task, in the order of its table; read only."""
    import numpy as np

    from dbpt.features import embed_images

    paths, cache = [row["path"] for row in tiny.rows()], tiny.cache / "features"
    found = embed_images(tiny_backbone, tiny.table.parent, paths, cache_dir=cache, batch_size=16)
    file = tmp_path_factory.mktemp("features") / "features.npy"
    np.save(file, found.features)
    return file


@pytest.fixture(scope="session")
def tiny_run(tiny, tmp_path_factory) -> Path:
    """The folder of a finished run with `tiny.SETTINGS`; read only."""
    from dbpt import fit

    return fit(tiny.table, out=tmp_path_factory.mktemp("run") / "run", **tiny.settings).folder


@pytest.fixture
def copied(tiny_run, tmp_path) -> Path:
    """A copy of `tiny_run`, which may be changed."""
    return shutil.copytree(tiny_run, tmp_path / "copied")


@pytest.fixture(scope="session")
def comparison(tiny, tmp_path_factory):
    """A comparison of four methods with two heads and two seeds; read only."""
    from comparisons import compare

    return compare(tiny, tmp_path_factory.mktemp("comparison") / "c", heads=("prompt", "linear"))


@pytest.fixture(scope="session")
def long_comparison(tiny, tmp_path_factory) -> dict[str, object]:
    """The contents of an uninterrupted comparison with `comparisons.EPOCHS`, in one process."""
    from comparisons import EPOCHS, compare, contents

    return contents(compare(tiny, tmp_path_factory.mktemp("long") / "c", epochs=EPOCHS).folder)


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory) -> Path:
    """A folder with the configuration of a small BERT, for an open_clip model with a Hugging Face text tower."""
    transformers = pytest.importorskip("transformers", reason="a Hugging Face tower needs transformers")
    folder = tmp_path_factory.mktemp("bert")
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    transformers.BertConfig(vocab_size=64, max_position_embeddings=24, **shape).save_pretrained(folder)
    return folder


@pytest.fixture
def quick_jobs(monkeypatch):
    """Fork the processes of a comparison from one that has imported torch, which takes each of them seconds."""
    import multiprocessing

    from launched import forking

    context = forking()
    monkeypatch.setattr(multiprocessing, "get_context", lambda method: context)


@pytest.fixture(scope="session")
def reds(tmp_path_factory) -> Path:
    """The folder of a hundred small pictures, each in a red of its own; read only."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("reds")
    for number in range(100):
        Image.new("RGB", (9, 9), (number, 0, 0)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def birds(tmp_path_factory) -> dict:
    """The settings for 500 drawn birds of `drawn_birds`. Tables may be added; nothing that is there may change."""
    from drawn_birds import draw_birds

    return draw_birds(tmp_path_factory.mktemp("birds"), (240, 160, 100)) | {"attributes": "auto"}


@pytest.fixture(scope="session")
def picture_files(tmp_path_factory) -> Path:
    """The folders ``noise`` and ``plain`` of four large pictures each, whose thumbnails are large or small files."""
    import numpy as np
    from PIL import Image

    folder, draws = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for kind, shape in (("noise", (300, 400, 3)), ("plain", (1, 1, 3))):
        (folder / kind).mkdir()
        for number in range(4):
            pixels = np.broadcast_to(draws.integers(0, 255, shape, dtype=np.uint8), (300, 400, 3))
            Image.fromarray(np.ascontiguousarray(pixels)).save(folder / kind / f"{number}.png")
    return folder


@pytest.fixture
def noise(picture_files) -> Path:
    """Pictures of noise, the largest files that pictures of their size make; read only."""
    return picture_files / "noise"


@pytest.fixture
def plain(noise) -> Path:
    """Pictures of the same size in one colour, which a browser shows faster."""
    return noise.parent / "plain"


@pytest.fixture
def small_disk(tmp_path):
    """A `small_disk.SmallDisk`."""
    from small_disk import SmallDisk

    disk = SmallDisk(tmp_path)
    yield disk
    disk.close()


@pytest.fixture
def logged(caplog):
    """`caplog`, which holds what dbpt logs from level INFO."""
    caplog.set_level("INFO", "dbpt")
    return caplog


@pytest.fixture
def command(capsys):
    """Run the command line in this process; returns (exit code, standard output, standard error)."""

    from dbpt.cli import main

    def run(*arguments: object) -> tuple[int, str, str]:
        try:
            main([str(argument) for argument in arguments])
            code = 0
        except SystemExit as exit:
            code = exit.code
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def printed(command):
    """Run a command that must work; returns what it prints."""

    def run(*arguments: object) -> str:
        code, printed, shown = command(*arguments)
        assert code == 0, shown
        return printed

    return run


@pytest.fixture
def refusal(command):
    """Run a command that must fail for the user's fault and print nothing; returns the line that says so."""

    def run(*arguments: object) -> str:
        code, printed, shown = command(*arguments)
        assert (code, printed) == (2, ""), shown
        errors = [line for line in shown.splitlines() if line.startswith("Error: ")]
        assert errors == shown.splitlines()[-1:], shown
        return errors[0].removeprefix("Error: ")

    return run
