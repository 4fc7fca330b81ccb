"""Warnings as fields: their sentences, the kinds that the code uses, and values that make no sentence."""

import re
from dataclasses import asdict
from pathlib import Path

import pytest

import dbpt
from dbpt.cautions import SENTENCES, Caution, caution

CODE = "".join(path.read_text() for path in Path(dbpt.__file__).parent.rglob("*.py") if path.name != "cautions.py")


def test_each_kind_is_used_and_no_other():
    named = set(re.findall(r'\bcaution\(\s*"([^"]+)"', CODE))
    assert named <= set(SENTENCES)
    unused = set(SENTENCES) - named
    assert all(f'"{kind}"' in CODE for kind in unused), unused  # chosen by a variable


@pytest.mark.parametrize(
    ("warning", "sentence"),
    [
        (caution("unknown attributes", n=1), "1 image of unknown attribute, in the average only"),
        (caution("unknown attributes", n=1200), "1,200 images of unknown attribute, in the average only"),
        (caution("unused", names=["a"]), "no image was guessed 'a'"),
        (caution("leave out", names=["a", "b"], kept=["c", "d", "e"]),
         "leave out 'a' and 'b': 'c', 'd' and 'e' alone raise no doubt"),
        (caution("sentences", names=[], value=0.7999, limit=0.8),
         "other sentences around the same names give other guesses (agreement 0.7999; trusted from 0.8)"),
        (caution("separation", pairs=[["a", "b"], ["b", "c"]], value=0.0, limit=0.1),
         "the images form no groups that 'a' and 'b' or that 'b' and 'c' tell apart (separation 0.00; "
         "trusted from 0.1)"),
        (Caution("text", {"text": "odd"}, of="style"), "style: odd"),
        (Caution("text", {"text": "odd"}, of="style", classes=["cat", "dog"]), "style: for cat, dog, odd"),
        (caution("few shots", shots=5, classes=[f"c{i} (1)" for i in range(12)]),
         "--shots 5: classes with fewer training images, of which all are taken: c0 (1), c1 (1), c2 (1), c3 (1), "
         "c4 (1), c5 (1), c6 (1), c7 (1), c8 (1), c9 (1) and 2 more"),
    ],
)  # fmt: skip
def test_sentences(warning, sentence):
    assert str(warning) == sentence
    assert Caution(**asdict(warning)) == warning and hash(Caution(**asdict(warning))) == hash(warning)


@pytest.mark.parametrize(
    ("kind", "values"),
    [("no such kind", {}), ("unused", {}), ("small worst group", {"group": "a", "n": 1, "points": "many"}),
     ("spread", {"value": "low", "limit": 0.6}), ("separation", {"pairs": [[]], "value": 0, "limit": 1})],
)  # fmt: skip
def test_values_that_make_no_sentence_are_refused(kind, values):
    with pytest.raises(ValueError, match=f"'{kind}' with .* makes no warning"):
        Caution(kind, values)
