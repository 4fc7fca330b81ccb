"""Objectives, heads, ways to guess and data sets of others: the classes of docs/how_to/extending.md, and broken ones.

Classes are registered both ways. What must not be imported or even listed for dbpt's own names is tested without torch.
"""

import linecache
import re
import sys
from contextlib import nullcontext
from functools import partial
from importlib import import_module, invalidate_caches
from pathlib import Path

import numpy as np
import pytest
from documentation import blocks, read, tomllib
from refusals import line_of
from tiny import ATTRIBUTES, CLASSES

import dbpt
from dbpt.commands.compare.plan import is_cell_file, make_plan, shared_settings
from dbpt.data import DATASETS, DatasetReader
from dbpt.errors import InputError
from dbpt.guesses import PSEUDO_METHODS, PseudoMethod, label_attributes
from dbpt.heads import HEADS, LinearHead
from dbpt.objectives import OBJECTIVES, Erm
from dbpt.settings.config import FitConfig

PAGE = "docs/how_to/extending.md"
CHOICES = {"objective": "worst-in-batch", "head": "low-rank", "pseudo_method": "above-median"}


SNIPPETS = [text for _, text in blocks(PAGE, "python")]


def install(folder: Path, points: dict[str, dict[str, str]], code: str = "", package: str = "dbpt_shapes") -> None:
    """Write a package as pip would leave it; the folder must be on sys.path."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    groups = (
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in names.items())
        for group, names in points.items()
    )
    (info / "entry_points.txt").write_text("\n".join(groups))
    (folder / f"{package}.py").write_text(code, encoding="utf-8")
    invalidate_caches()


@pytest.fixture
def site(tmp_path, monkeypatch, registries):
    """A folder on sys.path, whose modules are forgotten at the end of the test."""
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    (tmp_path / "site").mkdir()
    before = set(sys.modules)
    yield tmp_path / "site"
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def shapes(tiny):
    """The rows of the tiny data set as the page's ``shapes.csv``."""
    codes = {name: code for names in (CLASSES, ATTRIBUTES, ("train", "val", "test")) for code, name in enumerate(names)}
    columns = ("label", "attribute", "split")
    lines = [",".join([row["path"], *(str(codes[row[column]]) for column in columns)]) for row in tiny.rows()]
    path = tiny.table.parent / "shapes.csv"
    path.write_text("\n".join(["file,shape,ground,split", *lines]) + "\n")
    yield path.parent
    path.unlink()


def check_a_run(run: Path, tiny, shapes: Path) -> None:
    """Check that a run is in its report, can be loaded, and predicts what was trained, as the page promises."""
    classifier = dbpt.load(run)
    assert (classifier.config.objective, classifier.config.head) == ("worst-in-batch", "low-rank")
    figures = dbpt.evaluate(run, "shapes", root=shapes, cache=str(tiny.cache))
    assert (figures.chosen.head, figures.metrics.guesses.method) == ("low-rank", "above-median")
    test = [row for row in tiny.rows() if row["split"] == "test"]
    found = list(classifier.predict([tiny.table.parent / row["path"] for row in test]))
    right = np.mean([each.prediction == row["label"] for each, row in zip(found, test, strict=True)])
    assert right == figures.average_accuracy
    assert "worst in batch (low-rank)" in (run / "report.html").read_text()


def test_the_pages_package_is_known_to_the_command_line_without_being_imported(site, tiny, shapes, tmp_path, command):
    code = "\n".join(line for text in SNIPPETS for line in text.splitlines() if not line.startswith("@dbpt.register"))
    ((_, points),) = blocks(PAGE, "toml")
    install(site, tomllib.loads(points)["project"]["entry-points"], code)
    _, shown, _ = command("fit", "--help")
    assert "|contrastive-adapter|worst-in-batch]" in "".join(shown.split())
    assert "Data sets known by name:\n  demo, waterbirds, celeba, metashift, shapes\n" in shown
    assert "[prompt|linear|adapter|low-rank] ..." in command("compare", "--help")[1]
    assert ("low-rank" in HEADS, "dbpt_shapes" in sys.modules) == (True, False)
    own = {name: value for name, value in tiny.settings.items() if name not in ("attributes", "n_ctx", "lr")}
    settings = (own | CHOICES).items()
    options = [option for name, value in settings for option in (f"--{name.replace('_', '-')}", value)]
    status, _, error = command("fit", "shapes", "--root", shapes, "--out", tmp_path / "run", *options)
    assert status == 0, error
    assert FitConfig(**CHOICES, optimizer="sgd").peak_lr == 0.03
    check_a_run(tmp_path / "run", tiny, shapes)


@pytest.mark.usefixtures("quick_jobs")
def test_processes_of_a_comparison_find_what_a_module_or_a_package_registers(site, tiny, shapes, tmp_path):
    objective, *others = SNIPPETS
    (site / "by_decorator.py").write_text("".join(others))
    plain = objective.replace('@dbpt.register_objective("worst-in-batch")\n', "")
    install(site, {"dbpt.objectives": {"worst-in-batch": "dbpt_shapes:WorstInBatch"}}, plain)
    import_module("by_decorator")
    settings = tiny.settings | {"attributes": None, "n_ctx": None, "root": str(shapes), "epochs": 2}
    choices = {"methods": ["erm", "worst-in-batch"], "heads": ["low-rank", "low-rank-4"], "seeds": 1}
    found = dbpt.compare("shapes", out=tmp_path / "compared", jobs=2, **choices, **settings).to_dict()
    titles = [(row["title"], row["head"]) for row in found["rows"]]
    assert titles == [(title, head) for head in choices["heads"] for title in ("ERM", "worst in batch")]
    assert found["failed"] == []
    run = dbpt.fit("shapes", out=tmp_path / "run", **CHOICES, **settings).folder
    check_a_run(run, tiny, shapes)
    for name in HEADS.added:
        del HEADS._classes[name]
    with pytest.raises(InputError, match=r"config.toml: --head: 'low-rank' is none of .*import that first"):
        dbpt.load(run)


@pytest.mark.usefixtures("quick_jobs")
def test_a_process_that_does_not_find_a_class_says_so(tiny, tmp_path, registries):
    dbpt.register_objective("of-a-notebook")(type("Mine", (Erm,), {"uses_groups": False}))
    settings = tiny.settings | {
        "methods": ["erm", "of-a-notebook"],
        "heads": "linear",
        "seeds": 1,
        "epochs": 2,
        "jobs": 2,
    }
    line = line_of(dbpt.compare, tiny.table, out=tmp_path / "c", **settings)
    assert line.startswith("--jobs: another process cannot begin: --objective: 'of-a-notebook' is none of dbpt, ")
    assert line.endswith("register names at the top of a script or module, or leave jobs out")


CODE_OF_ONE = """
from dbpt.objectives import Erm
POWER = 2
class Mine(Erm):
    def loss(self, per_sample_loss, *rows):
        return per_sample_loss.mean() ** POWER
"""


def registered(code: str, site: Path) -> str:
    """Register the class of a module as it is now, and return the digest of its code."""
    (site / "mine.py").write_text(code)
    sys.modules.pop("mine", None)
    invalidate_caches()
    dbpt.register_objective("mine")(import_module("mine").Mine)
    return OBJECTIVES.code_of("mine")


def in_a_notebook(code: str) -> str:
    linecache.cache["a cell"] = (len(code), None, code.splitlines(keepends=True), "a cell")
    exec(compile(code, "a cell", "exec"), names := {"__name__": "a_notebook"})
    dbpt.register_objective("of-a-cell")(names["Mine"])
    return OBJECTIVES.code_of("of-a-cell")


def test_other_code_of_a_class_does_not_continue_its_trainings(tiny, tmp_path, site):
    changed, commented = (CODE_OF_ONE.replace("POWER\n", end) for end in ("POWER * 1.5\n", "POWER  # a comment\n"))
    for digest in (partial(registered, site=site), in_a_notebook):
        assert digest(CODE_OF_ONE) == digest(commented) != digest(changed)
    settings = tiny.settings | {"n_ctx": None, "epochs": 2, "lr": 0.01}
    runs = {"compare": {"methods": "mine", "heads": "linear"}, "fit": {"objective": "mine", "head": "linear"}}
    for verb, choices in runs.items():
        for code, error in ((CODE_OF_ONE, None), (CODE_OF_ONE, None), (changed, "mine.*: made with .*other code of")):
            registered(code, site)
            data = {} if (tmp_path / verb).exists() else {"data": tiny.table, **choices, **settings}
            with pytest.raises(InputError, match=error) if error else nullcontext():
                getattr(dbpt, verb)(out=tmp_path / verb, resume=True, **data)


CODE = (
    "from dbpt.objectives import Objective\nclass Mine(Objective):\n    pass\nclass Other(Objective):\n    name = 'x'\n"
)


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ("absent:Mine", r"cannot be imported \(ModuleNotFoundError: No module named 'absent'\); fix or uninstall"),
        ("dbpt_shapes:Objective.loss", "cannot be used: <function .* is not a subclass of dbpt.objectives.base.Obj"),
        ("dbpt_shapes:Other", "cannot be used: dbpt_shapes.Other is called 'x' already; fix or uninstall"),
    ],
)
def test_a_package_that_cannot_be_used_is_refused_by_name_and_only_when_it_is_chosen(site, value, match):
    install(site, {"dbpt.objectives": {"mine": value}}, CODE)
    line = rf"^objective 'mine' \(entry point {value} of dbpt_shapes\) {match}"
    for _ in range(2):
        with pytest.raises(InputError, match=line):
            FitConfig(objective="mine")
    assert FitConfig(objective="erm").resolved().objective == "erm"
    assert "mine" in list(OBJECTIVES)
    with pytest.raises(InputError, match="'mind' is none of .*, mine .did you mean 'mine'"):
        FitConfig(objective="mind")


def test_the_variable_names_modules_that_the_command_line_imports(site, monkeypatch, tmp_path):
    (site / "by_decorator.py").write_text(SNIPPETS[0])
    monkeypatch.setenv("DBPT_PLUGINS", re.search("DBPT_PLUGINS=(.*) dbpt fit demo --out", read(PAGE))[1])
    with pytest.raises(InputError, match=r"^DBPT_PLUGINS: dbpt_shapes cannot be imported \(ModuleNotFoundError: No"):
        FitConfig(objective="worst-in-batch")
    assert FitConfig(objective="erm").objective == "erm"
    monkeypatch.setenv("DBPT_PLUGINS", "json, by_decorator")
    assert FitConfig(objective="worst-in-batch").application("worst-in-batch") is None
    assert list(OBJECTIVES)[-1] == "worst-in-batch"
    assert "worst-in-batch" not in HEADS


def test_two_packages_with_one_name_are_refused(site):
    for package in ("first", "second"):
        install(site, {"dbpt.objectives": {"mine": f"{package}:Mine"}}, CODE, package)
    with pytest.raises(InputError, match="entry point .*first:Mine of first.* have the same name; uninstall all but"):
        FitConfig(objective="mine")


@pytest.mark.parametrize("name", ["erm", "zero-shot", "Two words", "under_score"])
def test_names_that_nobody_may_take(site, name, registries):
    problem = "the name .* is dbpt's own; choose another" if name in ("erm", "zero-shot") else "lower-case letters"
    with pytest.raises(InputError, match=f"^register objective {name!r}: .*{problem}"):
        dbpt.register_objective(name)(type("Mine", (Erm,), {"uses_groups": False}))
    install(site, {"dbpt.objectives": {name: "dbpt_shapes:Mine"}}, CODE)
    with pytest.warns(UserWarning, match=rf"^objective {name!r} \(entry point dbpt_shapes:Mine of .*: .*{problem}"):
        assert list(OBJECTIVES) == list(OBJECTIVES.loaded)
    assert OBJECTIVES["erm"] is Erm
    assert (name in OBJECTIVES) == (name == "erm")
    assert name == "erm" or OBJECTIVES.get(name) is None


def test_a_decorator_refuses_another_kind_of_class_and_a_name_that_is_taken(registries):
    with pytest.raises(InputError, match="^register data 'mine': .*Erm'> is not a subclass of dbpt.data.layouts.D"):
        dbpt.register_dataset("mine")(Erm)
    with pytest.raises(InputError, match="^register objective <class .*: expected a name of lower-case letters"):
        dbpt.register_objective(Erm)
    first = dbpt.register_objective("mine")(type("Mine", (Erm,), {"uses_groups": False}))
    assert (first.name, first.title, OBJECTIVES["mine"]) == ("mine", "mine", first)
    again = dbpt.register_objective("mine")(
        type("Mine", (Erm,), {"title": "My own", "uses_groups": False})
    )  # a notebook's cell, run again
    assert (OBJECTIVES["mine"], again.title) == (again, "My own")
    with pytest.raises(InputError, match=r"test_extending.Mine has this name already; choose another$"):
        dbpt.register_objective("mine")(type("Yours", (Erm,), {"uses_groups": False}))
    with pytest.raises(InputError, match=r"Mine changes nothing of .*Objective \(did you mean 'row_weights'\?\)$"):
        dbpt.register_objective("misspelt")(type("Mine", (Erm,), {"row_weight": lambda self: None}))
    takes = r"WithLogits.loss takes \(self, logits, labels\); it is called with \(self, per_sample_loss, groups, "
    with pytest.raises(InputError, match=takes):

        @dbpt.register_objective("loss")
        class WithLogits(Erm):
            def loss(self, logits, labels): ...

    assert (Erm.name, Erm.title) == ("erm", "ERM")
    for part, parts in (("words", {}), ("holds", {"words": None}), ("read", {"words": None, "holds": ""})):
        with pytest.raises(InputError, match=f"^register data 'mine': test_extending.Mine has no {part}; define it$"):
            dbpt.register_dataset("mine")(type("Mine", (DatasetReader,), parts))


@pytest.mark.parametrize(("kind", "declared", "method"), [
    ("objective", {"refits": True, "heads": ("linear",)}, "Mine refits, so it must have a method refit"),
    ("pseudo_method", {"learns": True}, "Mine learns, so it must have a class method fit"),
])  # fmt: skip
def test_a_class_without_the_method_that_it_declares_is_named(tiny, tmp_path, registries, kind, declared, method):
    base = {"objective": Erm, "pseudo_method": PseudoMethod}[kind]
    getattr(dbpt, f"register_{kind}")("mine")(type("Mine", (base,), declared))
    settings = tiny.settings | {"n_ctx": None, "epochs": 1, "head": "linear", "baselines": False, kind: "mine"}
    with pytest.raises(InputError, match=f"'mine': {method}$"):
        dbpt.fit(tiny.table, out=tmp_path / "run", **settings)


def test_a_head_whose_classifier_is_not_what_was_trained_is_refused(tiny, tmp_path, registries):
    @dbpt.register_head("forgetful")
    class Forgetful(LinearHead):
        def classifier_tensors(self):
            return super().classifier_tensors() | {"weights": 1 + self.weights}

    with pytest.raises(InputError, match="^--head forgetful: its classifier's logits differ from its forward; fix"):
        dbpt.fit(tiny.table, out=tmp_path / "run", head="forgetful", **tiny.settings | {"n_ctx": None, "epochs": 1})


@pytest.mark.parametrize(("parts", "problem"), [
    ({"build": classmethod(lambda cls, start: None)}, "build returned None; return a dbpt.heads.Head"),
    ({"parameters": lambda self, recurse=True: iter(())}, "it has no parameters to train; define some as "),
    ({"forward": lambda self, x: (x @ self.weights.T).T}, r"forward of its features has shape \(2, 3\), expected \(3"),
    ({"classifier_tensors": lambda self: {"weights": self.weights.T}},
     r"classifier_tensors\(\)\['weights'\] has shape \((\d+), 2\), expected \(2, \1\)"),
    ({"classifier_tensors": lambda self: {"weights": self.weights, "logit_scale": 1.0}},
     r"classifier_tensors\(\)\['logit_scale'\] has shape 1.0, expected \(1,\)"),
])  # fmt: skip
def test_a_head_of_wrong_shapes_is_refused_before_training(tiny, tmp_path, registries, parts, problem):
    dbpt.register_head("mine")(type("Mine", (LinearHead,), parts))
    with pytest.raises(InputError, match=f"^--head mine: {problem}"):
        dbpt.fit(tiny.table, out=tmp_path / "run", head="mine", **tiny.settings | {"n_ctx": None, "epochs": 1})


def test_own_names_are_found_without_the_metadata_of_packages(monkeypatch):
    def refuse(**_: str) -> None:
        raise AssertionError("packages were searched")

    monkeypatch.setattr("dbpt.registry.entry_points", refuse)
    for registry in (OBJECTIVES, HEADS, DATASETS, PSEUDO_METHODS):
        assert all(name in registry for name in registry.loaded)
    assert FitConfig(objective="jtt", head="adapter").default_lr == 0.01
    assert type("Mine", (LinearHead,), {"default_lr": {"adamw": 0.5}}).default_lr == {"adamw": 0.5, "sgd": 0.1}
    plan = make_plan(shared_settings({}), ["zero-shot", "dbpt:true"], ["prompt", "linear"], 1)
    assert [is_cell_file(f"{cell.name}.safetensors") for cell in plan.cells] == [True, True, True]
    assert DATASETS.get("photos/train.csv") is None


def test_a_way_to_guess_may_warn_in_its_own_words(tiny, tmp_path, registries):
    @dbpt.register_pseudo_method("wordy")
    class Wordy(PseudoMethod):
        @classmethod
        def label(cls, job):
            job.warnings.append("all of this is odd")
            return job.largest(cls.name)

    factors = ["ground: meadow, lake", "kind[disc]: coin, plate", "kind[box]: crate, chest"]
    table = tiny.write("wordy", [{**row, "attribute": ""} for row in tiny.rows()])
    told = dbpt.guess_attributes(table, factors=factors, pseudo_method="wordy", **tiny.backbone).warnings
    assert {f"{each}: all of this is odd" for each in ("ground (meadow, lake)", "kind (coin, plate)")} <= set(told)
    run = dbpt.fit(tiny.table, out=tmp_path / "run", pseudo_method="wordy", **tiny.settings | {"epochs": 1})
    assert "all of this is odd" in dbpt.Result.read(run.folder).warnings


def test_a_way_to_guess_labels_what_label_attributes_gets(site):
    exec(SNIPPETS[-1], {})
    logits = np.random.default_rng(0).normal((9, 0, -9), size=(1001, 3))
    fit_on = np.arange(1001) < 501
    found = label_attributes(logits, method="above-median", fit_on=fit_on)
    medians = np.median(logits[fit_on], axis=0)
    np.testing.assert_array_equal(found.pseudo_attributes, (logits - medians).argmax(axis=1))
    assert found.method == "above-median" and found.confidence.min() > 1 / 3
    with pytest.raises(InputError, match="method is 'probe'; expected one of 'proportional', 'argmax', 'kmeans', 'abo"):
        label_attributes(logits, method="probe")
    for name in ("clusters", "argmax"):
        with pytest.raises(InputError, match=f"^register pseudo_method '{name}': the name '{name}' is dbpt's own"):
            dbpt.register_pseudo_method(name)(type("Mine", (PseudoMethod,), {}))
