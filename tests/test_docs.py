"""The commands and snippets of the documentation run; `test_docs_agree.py` compares its lists with the code.

The commands run as written, but on smaller demo data sets, for fewer epochs by default, and with the demo's small CLIP
as the default backbone.
"""

import csv
import inspect
import json
import os
import re
import shlex
import shutil
from itertools import chain
from pathlib import Path

import launched
import open_clip
import pytest
import sklearn
import torch
import torch.distributed.run
from documentation import blocks, command_lines, read, tomllib, tool
from drawn_birds import SHORT
from tiny import CONFIG

import dbpt.data.demo
from dbpt.cli import main
from dbpt.cli.fit_and_compare import fit
from dbpt.guesses.catalogue import read_catalogue
from dbpt.objectives import OBJECTIVES
from dbpt.settings.config import FitConfig

DEMO_SIZES, PHOTO_SIZES = (160, 40, 60), (60, 24, 24)
FEW_EPOCHS = 5


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """The cache of all pages, so that the demo is drawn and embedded once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """README's photos.csv and its images; read only."""
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder)
    return folder


@pytest.fixture
def workplace(tmp_path, monkeypatch, cache, photos):
    """An empty folder with README's photos.csv in it, as the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DBPT_CACHE", str(cache))
    monkeypatch.setattr("dbpt.data.demo.SPLIT_SIZES", DEMO_SIZES)
    monkeypatch.setitem(FitConfig.__init__.__kwdefaults__, "epochs", FEW_EPOCHS)
    for name, path in zip(("DEFAULT_MODEL", "DEFAULT_PRETRAINED"), dbpt.data.demo.mini_clip_paths(), strict=True):
        monkeypatch.setattr(f"dbpt.settings.all_settings.{name}", str(path))
        shutil.copy(path, tmp_path / f"clip{Path(path).suffix}")
    return shutil.copytree(photos, tmp_path, dirs_exist_ok=True)


def write_photos(folder: Path) -> None:
    """README's table with more rows under its own, and an image for each."""
    drawn = dbpt.data.demo._write("demo-waterbirds", folder / "drawn", 0, PHOTO_SIZES)
    (head,) = [text for _, text in blocks("README.md", "text") if text.startswith("path,")]
    lines = head.splitlines()
    (folder / "images").mkdir()
    with (drawn / "metadata.csv").open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file), 1):
            shutil.copy(drawn / row["img_filename"], folder / f"images/{number:04d}.jpg")
            if number >= len(lines):
                names = ("animal", "thing")[int(row["y"])], ("train", "val", "test")[int(row["split"])]
                lines.append(",".join((f"images/{number:04d}.jpg", *names)))
    (folder / "photos.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    shutil.rmtree(drawn)


def run(command: str) -> None:
    try:
        main(shlex.split(command)[1:])
    except SystemExit as end:
        pytest.fail(f"{command}: exit code {end.code}")


def run_blocks(*pages: str, capsys=None, before=lambda command: command) -> tuple[dict, list[str]]:
    """Run the snippets and the commands of dbpt, as ``before`` changes each, on some pages in their order.

    Returns the names that the snippets leave, and what each command prints if there is a ``capsys``.
    """
    namespace: dict = {}
    printed = []
    for language, text in chain(*(blocks(page, "bash", "python") for page in pages)):
        if language == "python":
            exec(compile(before(text) or text, "a page", "exec"), namespace)
            continue
        lines = text.replace("\\\n", " ").replace(" && ", "\n").splitlines()
        for command in (line for line in lines if line.startswith("dbpt ")):
            run(before(command) or command)
            if capsys:
                printed.append(capsys.readouterr().out)
    return namespace, printed


def skeleton(output: str) -> list[str]:
    """The words of each line of a comparison table: no figures, no marks, no warnings of small groups."""
    without = re.sub(r"\(.*?\)|[*◂]", "", output)
    words = (re.sub(r"[^A-Za-z:=-]+", " ", line).strip() for line in without.splitlines())
    return [line for line in words if line and not line.startswith("warning")]


def test_readme_and_the_guide_run_as_they_stand(workplace, capsys):
    """Commands and snippets in their order; and the printed demo output is what the demo prints, but for figures."""
    namespace, printed = run_blocks(
        "README.md", "docs/how_to/fit.md", "docs/how_to/python.md", "docs/how_to/watch.md", capsys=capsys
    )
    assert f" of {FitConfig.epochs}" in check_demo_output("README.md", printed[0])
    check_files(workplace / "runs/demo", "docs/how_to/fit.md", "| file | content |", "\n## ")
    with (workplace / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(PHOTO_SIZES)
    assert {row["prediction"] for row in rows} <= {"animal", "thing"}
    assert "photo" in str(namespace["run"])
    assert namespace["result"].to_dict()["rows"][0]["test"]["n"] == namespace["run"].to_dict()["rows"][0]["test"]["n"]
    assert namespace["prediction"].prediction in ("animal", "thing")
    assert dbpt.load(namespace["linear"].folder).words.attributes["drawing"] == ("sketch", "cartoon")
    exec(inspect.cleandoc(inspect.getdoc(dbpt.fit).partition("\n\nExample::")[2]), {"dbpt": dbpt})
    assert capsys.readouterr().out.endswith(("\nanimal\n", "\nthing\n"))


def check_demo_output(page: str, printed: str) -> str:
    _, documented, _ = tool("write_docs").split_page(read(page))
    # Few images make p larger, a difference unclear, and other groups worse.
    few = r"strongly |(?<=is saved: ).*?(?=CLIP's guesses)|\d+ labels? looks? wrong; suspicious.csv ranks them"
    few += r"|(No two groups|'\w+' has only|The worst group is another|Overall|Also).*?\.(?!\d)|[=≤] (?=0\.)"
    one, other = (re.sub(few, "", " ".join(text.split())) for text in (documented, printed))  # wrapped elsewhere
    one, other = (re.sub(r"'\w+'", "", text) for text in (one, other))
    assert skeleton(one) == skeleton(other)  # an audit of few images may name other groups
    return documented


def check_files(folder: Path, page: str, heading: str, end: str = "\n\n") -> None:
    """The folder holds what a table of the page, from its heading to the end, says."""
    table = read(page).partition(heading)[2].partition(end)[0]
    entries = {entry.name + "/" * entry.is_dir() for entry in folder.iterdir()}
    assert set(re.findall(r"`([\w.]+(?:\.\w+|/))`", table)) == entries


def test_the_guide_names_every_objective():
    table = read("docs/how_to/fit.md").partition("| `--objective` |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| \**`([\w-]+)`\** \|", table, re.MULTILINE) == list(OBJECTIVES)


def test_the_audit_page_runs_as_it_stands(workplace, capsys):
    """Its commands, with predictions and a run where the reader has made them."""

    def make_inputs(command: str) -> None:
        if "mine.csv" in command:
            write_predictions(workplace)
        if "runs/photos" in command:
            run("dbpt fit photos.csv --out runs/photos --attributes photo drawing --epochs 1 --no-baselines")

    assert command_lines("docs/how_to/audit.md")[0] in read("README.md")
    namespace, printed = run_blocks("docs/how_to/audit.md", "docs/how_to/gate.md", capsys=capsys, before=make_inputs)
    check_demo_output("docs/how_to/audit.md", printed[0])
    found = namespace["found"]
    photos = (workplace / "photos.csv").read_text()
    assert found.to_dict()["data"]["n"] == photos.count(",test") == sum(group.n for group in found.groups)
    assert namespace["groups"]["correct"].tolist() == [group.correct for group in found.groups]
    if "frame" in namespace:
        assert namespace["frame"].group_min().min() == found.worst_group_accuracy
    check_files(workplace / "audits/factors", "docs/how_to/audit.md", "| file in `--out` |")


def test_the_page_on_discover_runs_as_it_stands(workplace, capsys, monkeypatch):
    """Its commands, with the whole catalogue for the first one and the snippets."""
    monkeypatch.setattr("dbpt.commands.auto_attributes.read_catalogue", lambda: SHORT)

    def search_few(command: str) -> None:
        few = (lambda _: SHORT) if "discoveries/probe" in command else read_catalogue
        monkeypatch.setattr("dbpt.commands.discover.discover.read_catalogue", few)

    assert command_lines("docs/how_to/discover.md")[0] in read("README.md")
    write_predictions(workplace)
    namespace, printed = run_blocks("docs/how_to/discover.md", capsys=capsys, before=search_few)
    _, documented, _ = tool("write_docs").split_page(read("docs/how_to/discover.md"))
    for line in ("families tried: 54 of words that CLIP guesses, ",):
        assert line in documented and line in printed[0]
    (catalogue,) = [text for _, text in blocks("docs/how_to/discover.md", "toml")]
    (workplace / "mine.toml").write_text(catalogue)
    families = read_catalogue(workplace / "mine.toml")
    assert families[-1].names == ["hand", "stand"]
    assert f"dbpt's {len(families) - 1} families" in read("docs/how_to/discover.md")
    assert (namespace["families"]["source"] == "words").sum() == len(families) - 1
    check_files(workplace / "discoveries/demo", "docs/how_to/discover.md", "| file in `--out` |")


def write_predictions(folder: Path) -> None:
    """The table of docs/how_to/audit.md with a row for each of the photos."""
    (head,) = [text.splitlines()[:1] for _, text in blocks("docs/how_to/audit.md", "text") if text.startswith("path,")]
    with (folder / "photos.csv").open(newline="") as file:
        lines = [f"{row['path']},animal,0.9,0.1" for row in csv.DictReader(file)]
    (folder / "mine.csv").write_text("\n".join([*head, *lines]) + "\n")


def test_the_human_check_page_runs_as_it_stands(workplace, capsys):
    """Its commands, with labels.csv written from the true attributes where a person would save it; its outputs."""

    def write_labels(command: str) -> None:
        if "--labels" in command:
            write_labels_of_truth(workplace, command.split()[2])

    namespace, printed = run_blocks("docs/how_to/human_check.md", capsys=capsys, before=write_labels)
    drawn, shown = (text for _, text in blocks("docs/how_to/human_check.md", "text"))
    assert skeleton(drawn) == skeleton(printed[1])
    one, other = (re.sub(r"(?m)(worst group.*)  \w+ · \w+$", r"\1", text) for text in (shown, printed[2]))
    assert skeleton(one) == skeleton(other)
    (refit,) = [text.splitlines()[-1] for text in printed if "fit again with: " in text]
    assert refit.removeprefix("fit again with: ") in command_lines("docs/how_to/human_check.md")
    result = json.loads((workplace / "checks/demo/judged.json").read_text(encoding="utf-8"))
    assert namespace["result"].to_dict() == result
    assert namespace["design"].split == "test"
    assert (result["n_labelled"], result["n"]) == (DEMO_SIZES[2], DEMO_SIZES[2])  # all of the small split
    truth = json.loads((workplace / "runs/demo/metrics.json").read_text(encoding="utf-8"))["rows"][-1]["test"]
    found = result["corrected"]["worst_group_accuracy"]
    assert found["value"] == pytest.approx(truth["worst_group_accuracy"])


def write_labels_of_truth(folder: Path, drawn: str) -> None:
    config = tomllib.loads((folder / "runs/demo/config.toml").read_text(encoding="utf-8"))
    data = dbpt.load_dataset(config["data"], config["root"])
    attribute = {path: data.attribute_names[a] for path, a in zip(data.paths, data.attributes, strict=True)}
    sample = json.loads((folder / drawn / "design.json").read_text(encoding="utf-8"))["sample"]
    with (folder / drawn / "sample.csv").open(newline="", encoding="utf-8") as file:
        lines = [f"{sample},{row['path']},{attribute[row['path']]}" for row in csv.DictReader(file)]
    (folder / "labels.csv").write_text("\n".join(["sample,path,attribute", *lines]) + "\n", encoding="utf-8")


def test_the_page_on_your_own_network_runs_as_it_stands(workplace):
    namespace, _ = run_blocks("docs/how_to/own_network.md")
    assert torch.isfinite(namespace["loss"])
    drawn = sum(len(rows) for rows in namespace["loader"])
    assert drawn == 1000
    assert namespace["sampler"].quotas.tolist() != [250] * 4


def test_the_page_on_your_own_classifier_runs_as_it_stands(workplace):
    write_predictions(workplace)
    run_blocks("docs/start/your_classifier.md")
    assert (workplace / "discoveries/mine/discover.html").exists()


def test_the_snippets_of_pages_without_commands_run(workplace):
    sampling, _ = run_blocks("docs/how_to/sampling.md")
    assert sampling["state"]["position"] == 300
    group_weights, _ = run_blocks("docs/how_to/group_weights.md")
    run_blocks("docs/explanation/group_weights.md")
    assert len(set(group_weights["dro"].group_weights)) == 4
    assert group_weights["weights"].mean_p_true.max() < 1
    guesses, _ = run_blocks("docs/explanation/pseudo_attributes.md")
    same = guesses["labels"] == guesses["found"].pseudo_attributes
    assert same.mean() > 0.99  # but for the rounding to float16
    assert guesses["smallest"].precision > 0.9


def test_the_page_on_scikit_learn_runs_as_it_stands():
    with sklearn.config_context():
        names, _ = run_blocks("docs/how_to/scikit_learn.md")
    assert names["plain_worst"] + 0.2 < names["worst"]
    assert names["search"].best_params_["debiasedclassifier__objective"] != "erm"
    assert names["scores"].shape == names["by_photographer"].shape == (3,)
    found = names["balanced"].predict(names["X_test"])
    assert names["worst_group_score"](names["y_test"], found, names["background_test"]) > names["plain_worst"] + 0.2


def test_the_command_for_a_few_known_attributes_runs(workplace):
    (compare,) = command_lines("docs/how_to/known_attributes.md")
    run(compare.replace("--resample 10", "--resample 2 --epochs 2"))
    assert dbpt.Result.read(Path("runs/few")).metrics.guesses.cross_validations[0].n_known == 64


@pytest.mark.parametrize(
    ("page", "setting", "value"),
    [
        ("docs/explanation/methods.md", "group_source", "true"),
        ("docs/explanation/group_prompts.md", "prompts", "group"),
        ("docs/explanation/defaults.md", "optimizer", "sgd"),
    ],
)
def test_the_commands_of_the_page_run(workplace, page, setting, value):
    command, *others = command_lines(page)
    run(command)
    (made,) = Path("runs").iterdir()
    assert getattr(dbpt.load(made).config, setting) == value
    for other in others:
        run(other)


def test_the_commands_of_the_features_page_run(workplace, capsys):
    embed, fit, shared, *maintenance = command_lines("docs/how_to/features.md")
    run(embed)
    assert f"decoded by this process: {sum(PHOTO_SIZES)}\n" in capsys.readouterr().out
    run(f"{fit} --epochs 1 --no-baselines")
    assert f"features in float32: {sum(PHOTO_SIZES)} images, 0 embedded now" in capsys.readouterr().err
    model, weights = map(str, dbpt.data.demo.mini_clip_paths())
    printed = ranks([*shlex.split(shared), "--model", model, "--pretrained", weights], workplace / "ranks")
    assert "decoded by this process: 0\n" in printed
    for command in maintenance:
        run(command)
    assert "every byte is as it was written" in capsys.readouterr().out


def ranks(command: list[str], folder: Path) -> str:
    """Run a ``torchrun`` command, by ranks that are forked instead of started; returns what they print."""
    options = torch.distributed.run.get_args_parser().parse_args(command[1:])
    assert (options.module, options.training_script) == (True, "dbpt")
    arguments, cache = options.training_script_args, {"DBPT_CACHE": os.environ["DBPT_CACHE"]}
    started = launched.launch(folder, int(options.nproc_per_node), launched.command, arguments, of_all=cache)
    assert set(started.codes()) == {0}, started.printed("err")
    return "".join(started.printed("out"))


def test_the_command_for_several_processes_runs(workplace):
    command, *on_machines = map(shlex.split, command_lines("docs/how_to/several_processes.md"))
    model, weights = map(str, dbpt.data.demo.mini_clip_paths())
    less = ["--model", model, "--pretrained", weights, "--epochs", "1", "--no-baselines"]
    printed = ranks([*command, *less], workplace / "ranks")
    assert printed.count("report: runs/two/report.html") == 1
    assert dbpt.load("runs/two").class_names == ("animal", "thing")
    for number, of_one in enumerate(on_machines):
        found = torch.distributed.run.get_args_parser().parse_args(of_one[1:])
        assert (found.nnodes, found.node_rank, found.training_script) == ("2", number, "dbpt")
        fit.make_context("fit", found.training_script_args[1:])


def test_the_page_of_the_data_sets_runs_as_it_stands(workplace, capsys):
    for name, folder in (("demo-waterbirds", "waterbird_complete95_forest2water2"), ("demo-celeba", "celeba")):
        dbpt.write_demo(name, workplace / "data" / folder)
    capsys.readouterr()
    namespace, printed = run_blocks("docs/how_to/data_sets.md", capsys=capsys)
    ((_, shown),) = blocks("docs/how_to/data_sets.md", "text")
    assert namespace["found"].problems == ()
    lines, shown_lines = skeleton(printed[0]), skeleton(shown)
    assert shown.splitlines()[-2].strip() == "the counts are the published ones"  # which those of drawn data are not
    assert lines[1:-1] == shown_lines[1:-2]
    assert lines[-1] == shown_lines[-1] == "no problems found"
    assert "smiling, male, eyeglasses" in printed[1]


@pytest.mark.usefixtures("quick_jobs")
def test_the_compare_page_runs_as_it_stands(workplace, monkeypatch):
    monkeypatch.setitem(FitConfig.__init__.__kwdefaults__, "epochs", 2)  # of a hundred trainings
    namespace, _ = run_blocks(
        "docs/how_to/compare.md", before=lambda text: re.sub(r"(resample[ =])20", r"\g<1>3", text)
    )
    assert [row.method for row in namespace["comparison"].rows] == ["erm", "dbpt"]
    numbers = json.loads((workplace / "runs/compare/compare.json").read_text(encoding="utf-8"))
    assert [len(row["repeats"]) for row in numbers["rows"]] == [1 + 3] * 5
    check_files(workplace / "runs/compare", "docs/how_to/compare.md", "## The folder", "\n## ")


def test_the_handover_page_runs_as_it_stands_and_all_of_it_says_what_predict_says(workplace, tiny, monkeypatch):
    """With a small ViT of random weights, which each library loads in its own way."""
    transformers = pytest.importorskip("transformers", reason="the same in transformers needs transformers")
    from in_transformers import vision_model_of

    for name, path in (("DEFAULT_MODEL", tiny.model), ("DEFAULT_PRETRAINED", tiny.weights)):
        monkeypatch.setattr(f"dbpt.settings.all_settings.{name}", str(path))
    create = open_clip.create_model_and_transforms
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", CONFIG)
    of_tiny = lambda name, pretrained: create("tiny", pretrained=str(tiny.weights))  # noqa: E731
    monkeypatch.setattr(open_clip, "create_model_and_transforms", of_tiny)
    monkeypatch.setattr(
        transformers.CLIPVisionModelWithProjection,
        "from_pretrained",
        lambda name: vision_model_of(CONFIG, tiny.weights),
    )
    run("dbpt fit photos.csv --out runs/photos --attributes photo drawing --epochs 2 --no-baselines --prompts group")
    save = dbpt.Classifier.save_pretrained

    def save_with_weights(self, folder):  # the reader's CLIP is a published one
        save(self, folder)
        shutil.copy(tiny.weights, folder)

    monkeypatch.setattr(dbpt.Classifier, "save_pretrained", save_with_weights)
    namespace, _ = run_blocks("docs/how_to/handover.md")
    expected, same = (
        torch.from_numpy(namespace[name].predict("images/0001.jpg").probabilities)[None]
        for name in ("classifier", "same")
    )
    assert torch.equal(same, expected)
    assert namespace["found"].class_of.tolist() == [0, 0, 1, 1]
    for name in ("in_torch", "in_open_clip", "in_transformers"):
        torch.testing.assert_close(namespace[name], expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(namespace["program"].module()(namespace["images"]).softmax(dim=1), expected)
    assert Path("model.onnx").stat().st_size > 10_000
    without_dbpt = [text for _, text in blocks("docs/how_to/handover.md", "python")][3:]
    assert len(without_dbpt) == 2 and not any("dbpt" in text or "classifier" in text for text in without_dbpt)
