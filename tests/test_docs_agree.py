"""The documentation agrees with the code: its lists are complete, its links lead somewhere, its versions agree."""

import csv
import json
import re
from dataclasses import fields
from itertools import chain

import open_clip
import pytest
import torch
from documentation import ROOT, blocks, command_lines, read, tomllib, tool

import dbpt
from dbpt.clip.model import build_model
from dbpt.heads import HEADS
from dbpt.objectives import OBJECTIVES
from dbpt.settings.all_settings import DEFAULT_MODEL, DEFAULT_PRETRAINED
from dbpt.settings.config import FitConfig

PAGES = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")
OTHER_PAGES = ("CHANGELOG.md", "CODE_OF_CONDUCT.md", "SECURITY.md", "LICENSE-THIRD-PARTY.md", "benches/README.md")
OTHER_PAGES += tuple(page.relative_to(ROOT).as_posix() for page in sorted((ROOT / "docs").rglob("*.md")))


@pytest.mark.parametrize("page", PAGES)
def test_other_commands_are_those_of_ci(page):
    """.ci/run runs, word for word, the commands that no test can run inside itself."""
    ci = re.findall(r'^ *stage "[^"]+" "(.*)"$', read(".ci/run"), re.MULTILINE)
    others = [line for line in command_lines(page) if not line.startswith("dbpt ")]
    assert [line for line in others if line not in ci] == []
    if page == "README.md":
        assert others == re.findall(r'^ *stage "README, [^"]+" "(.*)"$', read(".ci/run"), re.MULTILINE)


def test_the_download_that_readme_announces_is_that_of_the_default_backbone():
    published = open_clip.get_pretrained_cfg(DEFAULT_MODEL, DEFAULT_PRETRAINED)["hf_hub"].strip("/")
    with torch.device("meta"):
        model = build_model(open_clip.get_model_config(DEFAULT_MODEL), DEFAULT_MODEL)
    megabytes = sum(4 * tensor.numel() for tensor in model.state_dict().values()) / 1e6
    readme, guide = (" ".join(read(page).split()) for page in ("README.md", "docs/how_to/fit.md"))
    assert f"{published}` on the Hugging Face hub, {megabytes:.0f} MB" in guide
    assert f"{megabytes:.0f} MB" in readme and "docs/how_to/fit.md#without-a-network" in readme
    assert f"--model {DEFAULT_MODEL} --pretrained open_clip_model.safetensors" in guide


def test_ci_checks_all_that_contributing_asks_for():
    checks, full = read(".ci/run").split("= full ]")
    ci = re.findall(r'^ *stage "[^"]+" "(.*)"$', checks, re.MULTILINE)
    assert 'stage "full tests" "pytest -m full"' in full
    assert "pip install --upgrade open_clip_torch && pytest tests/clip" in full
    assert set(ci) - set(command_lines("CONTRIBUTING.md")) == {
        "pip install . && dbpt fit demo --out runs/demo",
        "python .ci/packages.py",
        "apt-get -qq update && apt-get -qq install -y --no-install-recommends $packages >/dev/null",
    }


@pytest.mark.parametrize("page", [*PAGES, *OTHER_PAGES])
def test_links_lead_somewhere(page):
    for target, heading in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", read(page)):
        found = (ROOT / page).parent / target if target else ROOT / page
        assert found.exists(), target
        headings = re.findall(r"^#+ (.*)$", found.read_text(encoding="utf-8"), re.MULTILINE) if heading else []
        anchors = ["", *(re.sub(r"[^\w -]", "", text).lower().replace(" ", "-") for text in headings)]
        assert heading in anchors, f"{target}#{heading}"


@pytest.mark.parametrize("page", ["README.md", *OTHER_PAGES])
def test_commands_are_not_wider_than_a_page(page):
    lines = [line for _, text in blocks(page, "bash") for line in text.splitlines()]
    assert [line for line in lines if len(line) > 81] == [] or page == "docs/how_to/reproduce.md"


@pytest.mark.parametrize("page", [page for page in OTHER_PAGES if page.startswith("docs/explanation/")])
def test_formulas_are_no_plain_text(page):
    """GitHub and the site typeset what is between dollars or in a block of math."""
    prose = re.sub(r"^```.*?^```$|`[^`\n]*`|\$[^$]*\$", "", read(page), flags=re.MULTILINE | re.DOTALL)
    assert re.findall(r"[Σ√‖∝]|\w[\u0300-\u036f]|\b[a-zA-Z]_[a-zA-Z]{1,2}\b", prose) == []


def test_settings_page_is_that_of_the_code():
    assert read("docs/reference/settings.md") == tool("write_docs").settings_page()
    assert all(f"`{setting.name}`" in read("docs/reference/settings.md") for setting in fields(FitConfig))


def test_the_pages_have_the_combinations_of_the_code_and_name_every_objective_and_head():
    page = read("docs/reference/combinations.md")
    assert page == tool("write_docs").combinations_page(page)
    assert "| `groupdro` | class, group | `loss` | any head |" in page
    page = read("docs/explanation/methods.md")
    assert all(f"\n| `{name}` | " in page.partition("## Groups")[0] for name in (*OBJECTIVES, *HEADS))


def test_the_tables_of_the_defaults_page_are_those_of_the_sweep():
    page, sweep = read("docs/explanation/defaults.md"), read("docs/explanation/sweep.csv")
    lines = list(csv.DictReader(sweep.splitlines()))
    assert page == tool("sweep_tables").with_tables(page, lines)
    stages = {line["stage"] for line in lines}
    assert stages == set(re.findall(r"<!-- sweep: (.*?) by \w+ -->", page))


def test_architecture_has_a_line_for_each_file():
    tree = read("ARCHITECTURE.md").partition("## Where things are")[2].partition("\n## ")[0]
    listed, above = [], {2: ""}
    for indent, name in re.findall(r"^((?: {4}| {6}| {8}))([\w/]+(?:/|\.\w+))(?: |$)", tree, re.MULTILINE):
        above[len(indent)] = above[len(indent) - 2] + name
        listed += [above[len(indent)]] * (not name.endswith("/"))
    paths = [*(ROOT / "python/dbpt").rglob("*.py*"), *(ROOT / "rust/src").rglob("*.rs")]
    files = {path.relative_to(ROOT).as_posix() for path in paths if path.suffix in (".py", ".pyi", ".rs")}
    folders = ("__init__.py", "mod.rs")  # the line of the folder says what these are
    assert sorted(listed) == sorted(file for file in files if file in listed or not file.endswith(folders))


def test_versions_agree():
    project, crate = tomllib.loads(read("pyproject.toml"))["project"], tomllib.loads(read("Cargo.toml"))["package"]
    assert "version" in project["dynamic"]  # it is Cargo.toml's
    assert crate["version"] == dbpt.__version__
    newest = re.findall(r"^## \[([^]]+)\] - (\S+)$", read("CHANGELOG.md"), re.MULTILINE)[0]
    assert newest == (dbpt.__version__, *re.findall(r"^date-released: (.*)$", read("CITATION.cff"), re.MULTILINE))
    assert re.search(rf"^version: {re.escape(dbpt.__version__)}$", read("CITATION.cff"), re.MULTILINE)
    readme = read("README.md")
    assert f"Python {project['requires-python'].removeprefix('>=')} or later" in readme
    assert f"({crate['rust-version']} or later" in readme


def test_third_party_licences_name_what_is_used():
    text = read("LICENSE-THIRD-PARTY.md").partition("## Texts")[0]
    named = set(re.findall(r"[\w-]+", text))
    bill = json.loads(read("sbom/dbpt-core.cdx.json"))["components"]
    assert sorted({crate["name"] for crate in bill} - named) == []
    project = tomllib.loads(read("pyproject.toml"))["project"]
    packages = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    assert sorted({re.match(r"[\w-]+", package)[0] for package in packages} - named) == []


def test_the_bill_of_materials_is_that_of_the_lock_file():
    """.ci/run also writes it again and compares; that needs cargo and every crate's source."""
    bill = json.loads(read("sbom/dbpt-core.cdx.json"))
    locked = tomllib.loads(read("Cargo.lock"))["package"]
    digests = {(crate["name"], crate["version"]): crate.get("checksum") for crate in locked}
    found = {(crate["name"], crate["version"]): crate["hashes"][0]["content"] for crate in bill["components"]}
    assert found.items() <= digests.items()
    assert set(tomllib.loads(read("Cargo.toml"))["dependencies"]) <= {name for name, _ in found}
    assert bill["metadata"]["component"]["version"] == dbpt.__version__
    assert {"serialNumber", "timestamp"}.isdisjoint([*bill, *bill["metadata"]])
