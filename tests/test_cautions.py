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
        (caution("unknown attributes", n=1), "1 image of unknown attribute, counted in the average only"),
        (caution("unknown attributes", n=1200), "1,200 images of unknown attribute, counted in the average only"),
        (caution("unused", names=["a"]), "no image was guessed 'a'"),
        (caution("leave out", names=["a", "b"], kept=["c", "d", "e"]),
         "leave out 'a' and 'b': 'c', 'd' and 'e' alone raise no doubt"),
        (caution("sentences", names=[], value=0.7999, limit=0.8),
         "the guesses change with the sentences around the names (agreement 0.7999; trusted from 0.8)"),
        (caution("separation", pairs=[["a", "b"], ["b", "c"]], value=0.0, limit=0.1),
         "the images form no separate groups for 'a' and 'b' or for 'b' and 'c' (separation 0.00; trusted from 0.1)"),
        (Caution("text", {"text": "odd"}, of="style"), "style: odd"),
        (Caution("text", {"text": "odd"}, of="style", classes=["cat", "dog"]), "style: for cat, dog, odd"),
        (caution("weightless groups", groups=[f"g{i}" for i in range(12)]),
         "groups with weight 0: g0, g1, g2, g3, g4, g5, g6, g7, g8, g9 and 2 more; lower --eta or --dro-step-size"),
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
