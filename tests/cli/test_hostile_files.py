"""Every command with every file in every state: one line or a result, as docs/reference/faults.md says.

pytest tests every fifth cell of that page, ``DBPT_ALL_FAULTS=1`` all, and ``DBPT_WRITE_FAULTS=1`` writes it anew.
"""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from hostile_files import FILES, World, in_state, page, states_of
from unprivileged import unprivileged

import dbpt
from dbpt.cli import main

if not sys.platform.startswith("linux"):
    pytest.skip("pipes and permissions of Linux", allow_module_level=True)

DOCUMENT = Path(__file__).parents[2] / "docs/reference/faults.md"
CASES = [(verb, label, state) for verb, files in FILES.items() for label in files for state in states_of(label)]
ALL = bool({"DBPT_ALL_FAULTS", "DBPT_WRITE_FAULTS"} & os.environ.keys())


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    from tiny import make_tiny

    top = tmp_path_factory.mktemp("hostile")
    folder = top / "world"
    folder.mkdir()
    make_tiny(folder / "data")
    (folder / "settings.toml").write_text('attributes = ["meadow", "lake"]\nembed_batch_size = 16\n')
    world = World(folder, top / "snapshot")
    main([*world.arguments("fit")[:-1], str(folder / "run")])
    settings = {"model": folder / "data/tiny.json", "pretrained": folder / "data/tiny.safetensors"}
    settings |= {"embed_batch_size": 16, "head": "linear", "epochs": 1, "baselines": False, "cache": folder / "cache"}
    dbpt.fit(folder / "data/squares.csv", out=folder / "clustered", attributes="clusters", **settings)
    probed = {"attributes": ["meadow", "lake"], "pseudo_method": "probe"}
    dbpt.fit(folder / "data/squares.csv", out=folder / "probed", **probed, **settings)
    main(world.arguments("fit --resume"))
    lines = (folder / "data/squares.csv").read_text().splitlines()
    (folder / "mine.csv").write_text("\n".join(["path,prediction", *(f"{line.split(',')[0]},0" for line in lines[1:])]))
    (folder / "attributes.csv").write_bytes((folder / "data/squares.csv").read_bytes())
    families = "[ground]\nattributes = ['meadow', 'lake']\n[light]\nattributes = ['bright', 'dark']\n"
    (folder / "catalogue.toml").write_text(families)
    main(world.arguments("audit --overwrite")[:-1])
    main(world.arguments("compare --resume"))
    main(world.arguments("guess"))
    (folder / "guessed.csv").unlink()
    sample = dbpt.draw_label_sample(folder / "run", out=folder / "sample", n=20, cache=str(folder / "cache"))
    lines = [f"{sample.sample},{path},meadow" for path in sample.paths]
    (folder / "labels.csv").write_text("\n".join(["sample,path,attribute", *lines, ""]))
    shutil.copytree(folder, world.snapshot)
    return world


def outcome(world: World, command, verb: str, label: str, state: str) -> str:
    """Return the word of the table for one case, or a fault."""
    file, code = world.file(FILES[verb][label]), None
    mine = (world.folder / "settings.toml").read_bytes()
    try:
        with in_state(file, state), unprivileged():
            code, out, err = command(*world.arguments(verb))
        errors = [line for line in err.splitlines() if line.startswith("Error: ")]
        parts = file.relative_to(world.folder).parts if "folder" not in state else world.folder.parts[-1:]
        is_named = label == "image" or any(f"/{part}" in out + err for part in parts)
        is_kept = state != "somebody's file" or file.read_text() == "precious"
        is_kept &= label == "`--config`" or (world.folder / "settings.toml").read_bytes() == mine
        if "Traceback" in err or not is_kept or (code == 2 and (len(errors) != 1 or not is_named)):
            return f"**fault**: {code} {err[-300:]!r}"
        return {0: "goes on", 2: "refused"}[code]
    except Exception as error:
        return f"**fault**: {error!r:.300}"
    finally:
        world.put_back(file, everything=code == 0)


def documented() -> dict[tuple[str, str, str], str]:
    """The word of each cell of the page that isn't empty."""
    found: dict[tuple[str, str, str], str] = {}
    for line in DOCUMENT.read_text().splitlines():
        label, commands, *cells = line.strip("| ").split(" | ") if line.startswith("| ") else ("", "")
        if label == "file":
            states = cells
        for command in re.findall("`([^`]+)`", commands):
            found |= {(command, label, state): cell for state, cell in zip(states, cells, strict=False) if cell.strip()}
    return found


def test_what_each_command_does_with_each_file_in_each_state(world, command):
    outcomes = {case: outcome(world, command, *case) for case in CASES[:: 1 if ALL else 5]}
    faults = [case for case in outcomes.items() if "fault" in case[1]]
    assert faults == [], "\n".join(map(str, faults))
    if os.environ.get("DBPT_WRITE_FAULTS"):
        DOCUMENT.write_text(page(outcomes))
    expected, stale = documented(), f"{DOCUMENT} is stale: run this test with DBPT_WRITE_FAULTS=1"
    assert expected.keys() == set(CASES) and outcomes == {case: expected[case] for case in outcomes}, stale
    assert not ALL or page(outcomes) == DOCUMENT.read_text(), stale
