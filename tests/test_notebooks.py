"""The notebooks of docs/notebooks are shipped with the output of one run, from top to bottom, on no known machine."""

import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "docs" / "notebooks").glob("*.ipynb"))
MOST_BYTES = 600_000
OF_A_MACHINE = re.compile(
    r"(?<![\w.:/])/(?:home|root|tmp|var|usr|opt|work|mnt|private|Users|builds?)/|[A-Z]:\\\\|\.cache/"
)


def test_there_are_three():
    assert [path.stem for path in NOTEBOOKS] == [
        *("audit_your_classifier", "repair_a_clip_classifier", "train_on_guessed_groups")
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_output_is_whole_and_of_no_machine(path):
    text = path.read_text(encoding="utf-8")
    assert len(text) < MOST_BYTES
    notebook = json.loads(text)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    outputs = [output for cell in code for output in cell["outputs"]]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert {output["output_type"] for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert {output["name"] for output in outputs if output["output_type"] == "stream"} == {"stdout"}  # no warnings
    pictures = [output["data"].pop("image/png") for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) >= 2
    assert OF_A_MACHINE.findall(json.dumps(notebook)) == []
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert not any("execution" in cell["metadata"] for cell in code)  # no times
