"""Imports: quick commands stay quick, every public name is there, and no room imports one below it in the list."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from block_imports import BLOCKED
from documentation import ROOT

import dbpt

SLOW = "{'torch', 'open_clip', 'torchvision', 'timm', 'datasets', 'pandas', 'matplotlib', 'sklearn', 'huggingface_hub'}"


def loaded_after(*statements: str) -> str:
    """The statements after which slow packages are loaded, in one process, and which."""
    told = "\nprint('SLOW:', {each!r}, *sorted(slow)) if (slow := {slow} & set(sys.modules)) else None"
    code = "\n".join(["import sys", *(each + told.format(each=each, slow=SLOW) for each in statements)])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("SLOW:")[2].strip()


def quietly(*commands: str) -> str:
    attempt = "try:\n    dbpt.cli.main({})\nexcept SystemExit:\n    pass"
    return "\n".join(["import dbpt.cli", *(attempt.format(command.split()) for command in commands)])


def test_quick_things_do_not_import_torch():
    statements = [
        "import dbpt; dbpt.InputError; dbpt.GroupWeights; dbpt.FitConfig; dbpt.label_attributes; dbpt.group_metrics",
        "import dbpt.data.words, dbpt.groups, dbpt.report, dbpt.data.demo; dbpt.write_demo; dbpt.load_dataset",
        "import dbpt; dbpt.Result; import dbpt.runs.run_folder, dbpt.features",
        "import dbpt.guesses, dbpt.settings.config, dbpt.objectives, dbpt.heads",
        "import dbpt.commands.compare.plan as p; p.make_plan(p.shared_settings({}), p.METHODS, 'prompt', 5)",
        "from dbpt import clip, heads; assert {'Backbone', 'PromptHead', 'HEADS'} <= {*dir(clip), *dir(heads)}",
        "import dbpt, dbpt.report.tables; dbpt.judge_labels; dbpt.draw_label_sample",
        quietly("--help", "fit --help-all", "label --help"),
        quietly("fit demo --out never --epoch 3", "demo demo-nothing never", "--version"),
        quietly("audit demo --factors style", "fit demo --out never --factors style"),
    ]
    assert loaded_after(*statements) == ""


def test_drawing_does_not_import_torch_and_reading_not_even_pillow(tmp_path):
    drawn = f"demo._write('demo-waterbirds', pathlib.Path({str(tmp_path)!r}), 0, (8, 4, 4))"
    assert loaded_after(f"import pathlib; from dbpt.data import demo; {drawn}") == ""
    refused = "try:\n    dbpt.load_dataset(7)\nexcept dbpt.InputError:\n    pass"
    read = f"import dbpt; dbpt.load_dataset('waterbirds', {str(tmp_path)!r})\n{refused}"
    assert loaded_after(f"{read}\nassert 'PIL' not in sys.modules") == ""


def test_completion_does_not_import_torch():
    typed = {"COMP_WORDS": "dbpt fit --objective gr", "COMP_CWORD": "3", "_DBPT_COMPLETE": "bash_complete"}
    assert loaded_after(f"import os\nos.environ |= {typed}\n{quietly('')}") == ""


def test_samplers_group_weights_metrics_and_guesses_need_few_packages():
    uses = (ROOT / "tests/support/light_use.py").read_text("utf-8")
    script = BLOCKED.format(allowed=["numpy", "msgspec", "scipy", "dbpt"]) + uses
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


def test_the_check_above_would_see_torch():
    assert loaded_after("import sys, types; sys.modules['torch'] = types.ModuleType('torch')").endswith(" torch")


def test_the_command_line_asks_packages_for_names_only_where_it_lists_them():
    """Iterating over a registry looks into every installed package, and imports the modules in DBPT_PLUGINS."""
    without = "import importlib.metadata\nimportlib.metadata.entry_points = None\n"
    assert loaded_after(without + quietly("--help", "compare --version")) == ""


def test_completion_and_type_checkers_see_the_public_names_and_nothing_else():
    code = "import dbpt; print(*dir(dbpt)); dbpt.sampling.GroupSampler"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=True).stdout
    assert shown.split() == sorted(dbpt.__all__)
    typed = re.findall(r"^    from dbpt[\w.]* import (\w+) as \1$", Path(dbpt.__file__).read_text(), re.MULTILINE)
    assert sorted(typed) == sorted(dbpt.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'fti'"):
        _ = dbpt.fti


def test_python_dash_m_is_the_command():
    done = subprocess.run([sys.executable, "-m", "dbpt", "--version"], capture_output=True, text=True, timeout=600)
    assert done.stdout.strip() == f"dbpt, version {dbpt.__version__}"


PACKAGE = Path(dbpt.__file__).parent


def imported() -> dict[str, set[str]]:
    """The names that each module of dbpt imports, for type checkers too: modules where they are some of dbpt's."""
    paths = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
    found: dict[str, set[str]] = {module: set() for module in paths}
    for module, path in paths.items():
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: a relative import"
            for alias in node.names if isinstance(node, ast.Import | ast.ImportFrom) else ():
                names = [f"{node.module}.{alias.name}", str(node.module)] if isinstance(node, ast.ImportFrom) else []
                files = [file for name in [*names, alias.name] for file in (name, f"{name}.__init__") if file in paths]
                found[module].add([*files, *names, alias.name][0])
    return found


def test_no_import_runs_up_the_list_of_rooms_and_no_two_files_import_each_other():
    architecture = (Path(__file__).parent.parent / "ARCHITECTURE.md").read_text()
    tree = architecture.partition("    python/dbpt/\n")[2].partition("    rust/src/")[0]
    order = re.findall(r"^      (\w+)(?:/|\.pyi?) ", tree, re.MULTILINE)
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} | {path.stem for path in PACKAGE.glob("*.py")}
    assert sorted(order) == sorted(rooms | {"_core"})
    modules, upward = imported(), []
    for module, targets in modules.items():
        room = module.split(".")[1]
        names = [name for name in targets if name.startswith("dbpt.") and room != "__init__"]
        upward += [f"{module} imports {name}" for name in names if order.index(name.split(".")[1]) > order.index(room)]
    assert upward == []
    TopologicalSorter(modules).prepare()  # raises CycleError


def test_only_commands_and_the_command_line_make_words():
    """Sentences last: what computes, trains or evaluates knows no page."""
    users = {module for module, targets in imported().items() for name in targets if name.startswith("dbpt.report")}
    assert {module.split(".")[1] for module in users} == {"report", "commands", "cli"}


@pytest.mark.parametrize("folder", ["benches", "examples", "tools"])
def test_what_scripts_import_is_there(folder):
    """Scripts that no test runs break with a name that is gone."""
    for file in sorted((Path(__file__).parents[1] / folder).glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "dbpt":
                for name in node.names:
                    exec(f"from {node.module} import {name.name}")
