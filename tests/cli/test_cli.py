"""The command line: options and lists, and one clear line with exit code 2 for whatever the user got wrong."""

import io
import os
import re
import sys
import warnings
from dataclasses import fields
from pathlib import Path
from unittest.mock import Mock

import click
import pytest
import torch
from folders import files_in
from passed_on import passed_on
from tiny import Tiny
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure
from unprivileged import unprivileged

from dbpt.cli import fit_and_compare as fit_command
from dbpt.cli import main
from dbpt.settings.all_settings import SECTIONS
from dbpt.settings.config import FitConfig
from dbpt.settings.fields import flag_of


@pytest.fixture
def refused(refusal, tmp_path):
    """Run a command that must be refused; returns its line. ``--out`` must not be left behind."""

    def run(*arguments: object) -> str:
        out = tmp_path / "run"
        line = refusal(*arguments, *([] if "--out" in arguments else ["--out", out]))
        assert not out.exists()
        return line

    return run


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def settings_of(monkeypatch):
    """Return the settings that the command line passes to `dbpt.fit`."""

    def parse(*arguments: str) -> dict:
        settings = passed_on(monkeypatch, "fit", *arguments)
        return {name: value for name, value in settings.items() if name not in ("resume", "overwrite")}

    return parse


@pytest.mark.parametrize(
    "arguments",
    [
        "DATA --classes -a=x|y b --attributes c d --seed 0",
        "--classes -a=x|y b --attributes c d --seed=0 -- DATA",
        "--classes=-a=x|y b --attributes=c d --seed 0 DATA",
    ],
)
def test_a_list_ends_at_the_next_option_and_values_may_begin_with_a_dash(settings_of, arguments):
    lists = {"classes": ("-a=x|y", "b"), "attributes": ("c", "d")}
    assert settings_of(*arguments.split()) == {"data": "DATA", **lists, "seed": 0}


@pytest.mark.parametrize("arguments", ["--attributes a b --epochs 3 --attributes c", "--attributes=a --attributes=c"])
def test_a_list_is_given_once(refusal, tmp_path, arguments):
    line = refusal("fit", "DATA", "--out", tmp_path / "run", *arguments.split())
    way_out = "--attributes A B C, or several attributes as --factors 'style: photo, sketch' 'place: indoor, outdoor'"
    assert line == f"--attributes is given twice; write all values after the first: {way_out}"


def test_only_what_was_said_is_passed_on(settings_of):
    assert settings_of("DATA") == {"data": "DATA"}
    assert settings_of("DATA", "--no-baselines", "--lr", "0.1") == {"data": "DATA", "baselines": False, "lr": 0.1}
    assert settings_of("DATA", "--baselines") == {"data": "DATA", "baselines": True}


def test_options_override_the_config_file(settings_of, tmp_path):
    (tmp_path / "c.toml").write_text('data = "FILE"\nepochs = 3\nlr = 0.2\nattributes = ["a", "b"]\n')
    config = str(tmp_path / "c.toml")
    assert settings_of("--config", config) == {"data": "FILE", "epochs": 3, "lr": 0.2, "attributes": ("a", "b")}
    found = settings_of("DATA", "--config", config, "--epochs", "4", "--attributes", "c", "d")
    assert found == {"data": "DATA", "epochs": 4, "lr": 0.2, "attributes": ("c", "d")}


def test_every_setting_is_an_option_with_its_help(command):
    options = {parameter.name for parameter in fit_command.fit.params}
    assert options >= {setting.name for setting in fields(FitConfig)}
    _, out, _ = command("fit", "--help-all")
    text = "".join(out.split())  # lines also break at hyphens
    for setting in fields(FitConfig):
        if setting.name != "data":
            assert f"--{setting.name.replace('_', '-')}" in text
            assert "".join(setting.metadata["help"].split()) in text
    assert "movingaverage[default:0.9]" in text


def test_fit_through_the_command_line(tiny, tiny_run, tmp_path, command):
    code, out, err = command("fit", tiny.table, "--out", tmp_path / "run", *tiny.arguments)
    assert code == 0, err
    assert f"report: {tmp_path / 'run' / 'report.html'}" in out
    assert "worst" in out
    assert "squares: 106 images" in err
    for name in ("prompt", "classifier", "pseudo_attributes"):
        file = f"{name}.safetensors"
        assert (tmp_path / "run" / file).read_bytes() == (tiny_run / file).read_bytes()


def test_demo_command(tmp_path, command, monkeypatch):
    monkeypatch.setattr("dbpt.data.demo.write_demo", lambda name, folder, seed: folder / f"{name}-{seed}")
    root = tmp_path / "demo-celeba-3"
    for folder in ([tmp_path], ["--out", tmp_path]):
        code, out, _ = command("demo", "demo-celeba", *folder, "--seed", 3)
        assert (code, out) == (0, f"demo-celeba: written to {root}; use it with: dbpt fit celeba --root {root}\n")


# --- usage errors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fti", "demo"], "No such command 'fti'"),
        (["data", "a.csv"], "'a.csv' is no command of dbpt data; write dbpt data check DATA"),
        (["fit", "demo", "--out", "o", "--epoch", "3"], "--epochs"),
        (["fit", "demo", "--out", "o", "--atributes", "a", "b"], "--attributes"),
        (["fit", "demo", "--out", "o", "--epochs", "three"], "'three' is not a valid integer"),
        (["fit", "demo", "--out", "o", "--proportions", "0.5,0.5"], "0.5,0.5; separate numbers by spaces, not commas"),
        (["fit", "demo", "--out", "o", "--objective", "ebm"], "--objective: 'ebm' is none of dbpt, gla, balanced"),
        (
            ["fit", "a b.csv"],
            "Missing option '--out': run folder, created by this command; add --out PATH",
        ),
        (["export", "runs/photos"], "; add --onnx PATH"),
        (["fit", "--out", "o", "--attributes", "a", ".", "--lr", "1"], "Missing argument 'DATA': name a data set or "),
        (["fit", "--out", "o", "--proportions", "0.5", "0.5", "--template", "x" * 300], "Missing argument 'DATA'"),
        (["fit", "--out", "o", "--attributes", "a", "."], "before the options; . is a value of --attributes"),
        (["fit", "demo", "--out"], "'--out' requires an argument"),
        (["embed", "demo", "--out", "e"], "--out e: features stay in the cache; name another with --cache"),
        (["evaluate"], "Missing argument 'RUN'; write dbpt evaluate RUN [DATA]"),
        (["audit", "a", "b"], "Got unexpected extra argument (b); write dbpt audit [DATA] [OPTIONS]"),
        (["fit", "demo", "--out", "o", "--zzzz"], "No such option '--zzzz'; see dbpt fit --help"),
        (["discover", "demo", "--attributes", "a"], "'--attributes'; commands that have it: audit, guess, fit, "),
        (["export", "r", "--out", "m"], "No such option '--out'; commands that have it: audit, "),
        (["cache", "prune", "--unwritten-for-days", "x"], "'x' is not a valid float; see dbpt cache prune --help"),
        (["demo", "demo-celeba"], "name one folder to write: dbpt demo demo-celeba FOLDER"),
        (["demo", "demo-celeba", "a", "--out", "b"], "name one folder to write: dbpt demo demo-celeba a"),
        (["demo", "demo-waterbird", "never"], "did you mean 'demo-waterbirds'?"),
        (["demo", "demo-waterbirds", "never", "--seed", "-1"], "--seed is -1; expected an integer, 0 or above"),
        (["label", "r", "--out", "never", "--n", "0"], "--n is 0; expected an integer, 1 or above"),
        (["label", "r", "--out", "never", "--split", "tset"], "--split is 'tset'; expected one of train, val, test (d"),
        (["cache", "list", "-q", "-v"], "-q and -v: choose one"),
        (["--quiet", "demo", "demo-waterbirds", "never", "--verbose"], "-q and -v: choose one"),
    ],
)
def test_usage_errors_are_one_line(refusal, arguments, message):
    assert message in refusal(*arguments)


@pytest.mark.parametrize("verb", ["", "label", "cache list"])
def test_help_all_is_help_where_there_is_no_more(command, verb):
    assert command(*verb.split(), "--help-all") == command(*verb.split(), "--help")


@pytest.mark.parametrize("verb", ["fit", "compare", "evaluate", "predict", "label", "data check", "embed"])
def test_a_misspelt_plugin_is_refused_even_if_nothing_of_it_is_asked_for(refusal, monkeypatch, verb):
    monkeypatch.setenv("DBPT_PLUGINS", "no_such_module")
    told = "DBPT_PLUGINS: no_such_module cannot be imported (ModuleNotFoundError: No module named 'no_such_module')"
    assert refusal(*verb.split(), "demo").startswith(f"{told}; name a module, without .py,")


@pytest.mark.parametrize("verb", ["fit", "compare", "embed", "evaluate", "data check"])
@pytest.mark.parametrize("option", ["--help", "--help-all"])
def test_help_has_every_option_once_in_the_section_of_its_setting(command, monkeypatch, verb, option):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = command(*verb.split(), option)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    sections = {title: re.findall(r"^  (--[a-z-]+)", text, re.M) for title, text in sections_of(out).items()}
    shown = [option for options in sections.values() for option in options]
    assert len(set(shown)) == len(shown)
    own, others = sections.pop("Main options", []), sections.pop("Other options")
    groups = {flag_of(setting.name): section.title for section in SECTIONS for setting in fields(section)}
    assert groups.keys().isdisjoint([*own, *others]) and "--help-all" in others
    for title, options in sections.items():
        expected = {"Method": {"groups", "head"}}.get(title, {title.lower()})
        assert {groups.get(option) for option in options} <= expected
    assert out.count("\n    dbpt ") == 2, "two examples"


def sections_of(text: str) -> dict[str, str]:
    titles = [*re.finditer(r"^([A-Z][a-z ]+):\n", text, re.M)]
    ends = [*(title.start() for title in titles[1:]), len(text)]
    return {title[1]: text[title.end() : end] for title, end in zip(titles, ends, strict=True)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("demo --root /x", "--root /x: demo is drawn into --cache"),
        ("demo-waterbird", "demo name: unknown value 'demo-waterbird'"),
        ("demo-birds.csv", "demo-birds.csv: does not exist"),
        ("TABLE --device cuda:99", "--device 'cuda:99': not usable here"),
        ("TABLE --device meta", "--device 'meta': not usable here"),
        ("TABLE --config /no/such.toml", "--config /no/such.toml: does not exist"),
    ],
)
def test_settings_that_do_not_fit(tiny, refused, arguments, message):
    assert message in refused("fit", *arguments.replace("TABLE", str(tiny.table)).split(), *tiny.arguments)


FOUND_WITHOUT_TORCH = [
    ("fit compare embed", "--pretrained none.safetensors", "cannot read the weights file: No such"),
    ("fit compare", "--tokenizer none.json", "none.json: cannot read the tokenizer: No such file"),
    ("fit compare evaluate", "--embeddings none.npy", "none.npy: cannot read the features: No such file"),
    ("fit compare evaluate", "--embeddings tests", "tests: holds no features, expected img_emb/img_emb_0.npy"),
    ("fit", "--resume --eta 7", "was started with eta = 1.0, found 7.0; use the same settings"),
]
FOUND_BY_TORCH = [
    ("fit compare embed evaluate", "--device gpu", "--device 'gpu': not usable here"),
    ("fit compare embed", "--model ViT-B-23", "unknown model 'ViT-B-23' (did you mean"),
    ("fit compare", "--tokenizer pyproject.toml", "pyproject.toml: not a tokenizer.json"),
    ("fit", "--n-ctx 24", "--n-ctx 24: the text tower has 24 positions, which must hold a class name too"),
    ("fit", "--label-model no-such-model", "no-such-model"),
]


@pytest.mark.parametrize(("verbs", "options", "message"), FOUND_WITHOUT_TORCH + FOUND_BY_TORCH)
def test_what_is_wrong_whatever_the_data_are_is_refused_before_they_are_read_or_embedded(
    tiny, tiny_run, refusal, monkeypatch, tmp_path, verbs, options, message
):
    by_torch = (verbs, options, message) in FOUND_BY_TORCH
    after = "dbpt.study.study.embed_dataset" if by_torch else "dbpt.study.data.load_dataset"
    monkeypatch.setattr(after, None)
    monkeypatch.chdir(Path(__file__).parents[2])
    out = ["--out", tiny_run if "--resume" in options else tmp_path / "run"]
    first = {"embed": [*tiny.arguments[:4]], "evaluate": []}
    for verb in verbs.split():
        data = [tiny_run, tiny.table] if verb == "evaluate" else [tiny.table]
        assert message in refusal(verb, *data, *first.get(verb, [*out, *tiny.arguments]), *options.split())


# --- the run folder ---------------------------------------------------------------------------------------------------


def test_out_that_exists(tiny: Tiny, tiny_run, refused, tmp_path):
    before = files_in(tiny_run)
    line = refused("fit", tiny.table, *tiny.arguments, "--out", tiny_run)
    assert line == f"--out {tiny_run}: exists; continue it with --resume, replace it with --overwrite"
    assert files_in(tiny_run) == before
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "photo.jpg").write_bytes(b"precious")
    for flags in ([], ["--resume"], ["--overwrite"]):
        line = refused("fit", tiny.table, *tiny.arguments, "--out", tmp_path / "holiday", *flags)
        assert line.endswith("exists and is not a run folder; choose another name")
        line = refused("fit", tiny.table, *tiny.arguments, "--out", tmp_path / "holiday" / "photo.jpg", *flags)
        assert line.endswith("exists and is not a folder; choose another name")
    assert (tmp_path / "holiday" / "photo.jpg").read_bytes() == b"precious"


def test_paths_that_cannot_be_written(tiny, refused, tmp_path):
    (tmp_path / "file").write_text("")
    fit = ("fit", tiny.table, *tiny.arguments)
    assert f"cannot create: {tmp_path / 'file'} is not a folder" in refused(*fit, "--out", tmp_path / "file" / "run")
    assert "cannot create: a name in it is too long" in refused(*fit, "--out", tmp_path / ("x" * 300))
    assert str(tmp_path / "file") in refused(*fit, "--cache", tmp_path / "file" / "cache")
    assert "file is not a folder" in refused("fit", "demo", "--cache", tmp_path / "file" / "cache")
    (tmp_path / "locked").mkdir(mode=0o500)
    with unprivileged():
        assert refused(*fit, "--out", tmp_path / "locked" / "run").endswith("locked is not writable")


def test_threads_of_the_command_spin_for_a_short_while_only(command, monkeypatch):
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    code, out, err = command()
    assert (code, os.environ["GOMP_SPINCOUNT"]) == (2, "20000")
    assert "Commands:" in out + err, "without a command the help is shown"


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, click.Abort])
def test_an_interrupted_command_names_the_one_that_continues_it(command, monkeypatch, tmp_path, interruption):
    def interrupted_later(*_: object, out: Path, **__: object) -> None:
        (out / "config.toml").write_text("")
        raise interruption

    for function in ("fit.fit.fit", "compare.compare.compare", "evaluate.evaluate"):
        monkeypatch.setattr(f"dbpt.commands.{function}", Mock(side_effect=interruption))
    kept, out = "Interrupted; nothing is half-written; continue with: dbpt", tmp_path / "my run"
    assert command("fit", "DATA", "--out", out) == (130, "", f"{kept} fit DATA --out '{out}'\n")
    assert command("evaluate", "RUN", "DATA") == (130, "", "Interrupted\n")
    out.mkdir()
    (out / "config.toml").write_text("an older run's")
    line = f"{kept} compare DATA --overwrite --out '{out}'\n"
    assert command("compare", "DATA", "--overwrite", "--out", out) == (130, "", line)
    for verb in ("fit", "compare"):
        monkeypatch.setattr(f"dbpt.commands.{verb}.{verb}.{verb}", interrupted_later)
        line = f"{kept} {verb} --resume --out '{out}'\n"
        assert command(verb, "DATA", "--overwrite", "--out", out) == (130, "", line)


@pytest.mark.parametrize("verb", ["compare", "evaluate", "predict", "export", "label", "demo", "cache"])
def test_what_several_processes_would_each_do_is_refused(refusal, monkeypatch, verb):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    assert refusal(verb, "one", "two").startswith(f"dbpt {verb}: started as one of several processes")


def test_an_error_stands_where_torchrun_reads_the_reason_that_it_ends_with(command, monkeypatch, tmp_path):
    reason = tmp_path / "error.json"
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(reason))
    _, _, stderr = command("fit", tmp_path / "none.csv", "--out", tmp_path / "run")
    failure = ProcessFailure(local_rank=0, pid=1, exitcode=2, error_file=str(reason))
    assert failure.message["message"] + "\n" == stderr
    assert failure.timestamp > 0


def test_letters_that_the_output_lacks_are_replaced(tiny, tiny_run, monkeypatch):
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding="cp1252"))
    main(["evaluate", str(tiny_run), str(tiny.table), "--cache", str(tiny.cache)])
    sys.stdout.flush()
    assert b"\n????????" in printed.getvalue()  # the rule below the head


def test_a_warning_is_one_line(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(click.Group, "main", lambda *_, **__: warnings.warn("few\nclusters", stacklevel=1))
            main([])
    assert capsys.readouterr().err == "warning: few clusters\n"


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("ev", ["plain,evaluate"]),
        ("fit --objective gr", ["plain,groupdro"]),
        ("fit demo-m", ["plain,demo-metashift", "file,demo-m"]),
        ("predict ru", ["file,ru"]),
    ],
)
def test_a_shell_completes_commands_options_choices_and_paths(command, monkeypatch, typed, completed):
    words = ["dbpt", *typed.split()]
    for name, value in {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("_DBPT_COMPLETE", "bash_complete")
    assert command() == (0, "".join(f"{line}\n" for line in completed), "")


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory. Tried"), MemoryError()])
def test_memory_that_is_full_is_one_line(refusal, tiny, monkeypatch, error):
    for function in ("dbpt.commands.embed.embed", "dbpt.runs.run_folder.load"):
        monkeypatch.setattr(function, Mock(side_effect=error))
    assert refusal("predict", "run", "image.jpg").endswith(": choose another --device")
    assert refusal("embed", tiny.table).endswith(": lower --embed-batch-size, or choose another --device")


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b"])
@pytest.mark.parametrize(
    "line", ["fit NAME --out x", "fit x.csv --out NAME", "predict NAME a.png", "cache list --cache NAME"]
)
def test_arguments_that_no_file_can_be_named(refusal, name, line):
    assert refusal(*line.replace("NAME", name).split()).startswith(f"{name!r}: cannot be an argument")
