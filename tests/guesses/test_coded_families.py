"""Families from columns, measured properties, captions and pairs: their values, their bins, and what is left out."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbpt.evaluation.family_guesses import GuessedFamily
from dbpt.guesses.value_families import (
    LEAST_IMAGES,
    MOST_WORDS,
    CodedFamily,
    code_captions,
    code_columns,
    learn_coding,
    readable,
)

N = 200
LABELS = np.arange(N) % 2
ROWS = np.arange(N)


def coded(cells, fitted=ROWS, **options):
    families, left_out = code_columns({"x": cells}, fitted, LABELS[: len(cells)], **options)
    return families[0] if families else left_out[0].reason


def repeated(*cells):
    """The cells again and again, each for the same number of images of both classes."""
    return [cells[row // 2 % len(cells)] for row in ROWS]


def names_of(family):
    return [family.values[code] if code >= 0 else None for code in family.codes.tolist()]


# --- what is coded, and how


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (repeated("red", "blue", ""), ("blue", "red")),
        (repeated("0", "1", "2"), ("0", "1", "2")),
        (repeated("1.0", "0", "nan"), ("0", "1")),
        (repeated("01000", "01001"), ("01000", "01001")),
        (repeated("1", "red", "2.5", "2019-05-01"), ("1", "2.5", "2019-05-01", "red")),  # mixed types are text
        (repeated("nan", "pita"), ("nan", "pita")),
        (repeated("none", "none", "none", "5", "6"), ("5", "6", "none")),
        (repeated("=1+1", "<b>x</b>", "@x"), ("<b>x</b>", "=1+1", "@x")),
        ([str(k // 2) for k in ROWS], ("<= 24", "25 to 49", "50 to 74", "> 74")),
        ([f"{k / 8}" for k in ROWS], ("<= 6.1", "6.1 to 12.4", "12.4 to 18.6", "> 18.6")),
        ([f"{k},5" for k in ROWS], ("<= 49.5", "49.5 to 99.5", "99.5 to 149.5", "> 149.5")),
        ([f"{k + 1},000" for k in ROWS], ("<= 50000", "50001 to 100000", "100001 to 150000", "> 150000")),
        ([str(max(0, k - 180)) for k in ROWS], ("<= 0", "> 0")),  # most are equal
        ([str(min(20, k)) for k in ROWS], ("<= 19", "> 19")),
        (repeated("2016-01-02", "3.4.2017", "12/31/2018 11:59 PM"), ("2016", "2017", "2018")),
        (
            [f"{2000 + k // 10}:05:01 12:00:00" for k in ROWS],
            ("until 2004", "2005 to 2009", "2010 to 2014", "after 2014"),
        ),
        (repeated("2019-05-01", "2019-05-02T10:00:00.5+02:00", "0000:00:00 00:00:00"), ("2019-05-01", "2019-05-02")),
        (repeated("2019-05-01 10:30:59", "5/1/2019 12:15 PM"), ("2019-05-01 10:30:59", "2019-05-01 12:15:00")),
        (
            [f"{k // 2 % 25 + 1}.{k // 50 + 1}.2019" for k in ROWS],
            ("until 2019-01-25", "2019-01-26 to 2019-02-25", "2019-02-26 to 2019-03-25", "after 2019-03-25"),
        ),
    ],
)
def test_values_are_kept_or_divided(cells, values):
    family = coded(cells)
    assert family.values == values and (family.source, family.name) == ("column", "x")
    assert family.codes.dtype == np.int64 and family.codes.shape == (N,)
    assert set(family.codes.tolist()) - {-1} == set(range(len(values)))
    coding = learn_coding("column", "x", cells, ROWS, LABELS)
    assert coding.values == values
    np.testing.assert_array_equal(coding.rule.codes_of(cells), family.codes)
    np.testing.assert_array_equal(coding.rule.codes_of(cells[::7]), family.codes[::7])


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (repeated(""), "empty"),
        (["5", *[""] * (N - 1)], "empty"),
        (repeated("red"), "one value"),
        (repeated("1.0", "1"), "one value"),
        (["2019-05-01"] * N, "one value"),
        (["odd" if label else "even" for label in LABELS], "same within classes"),
        ([f"user {k}" for k in ROWS], "identifiers"),
        ([str(k) for k in ROWS], "identifiers"),
        ([f"0{k}" for k in ROWS], "identifiers"),
        ([f"a photo of {k} dogs" for k in ROWS], "free text"),
        ([f"place {k // 4}" for k in ROWS], "too many values"),
        (np.full(N, np.inf, np.float32), "empty"),
        ([f"{k // 2 * 1e306}" for k in ROWS], "one value"),  # 0; the others are too large to be rounded
    ],
)
def test_what_is_left_out(cells, reason):
    assert coded(cells) == reason


def test_100_000_values_are_left_out():
    cells = [f"v{k}" for k in range(100_000)]
    columns = {"a": cells + cells[::-1], "b": [f"{cell} of {row}" for row, cell in enumerate(cells * 2)]}
    families, left_out = code_columns(columns, np.arange(200_000), np.zeros(200_000, np.int64))
    assert not families and [column.reason for column in left_out] == ["too many values", "free text"]


def test_rare_values_are_other_or_unknown():
    assert names_of(coded([*repeated("a", "b")[:-2], "c", "d"]))[-2:] == ["other", "other"]
    cells = repeated("a", "b") * 3
    cells[-5:] = ["c", "d", "e", "f", "g"]
    families, _ = code_columns({"x": cells}, np.arange(len(cells)), np.zeros(len(cells), np.int64))
    assert names_of(families[0])[-6:] == ["b", None, None, None, None, None]
    assert len(coded(repeated(*(f"v{k}" for k in range(25)))).values) == 21


@pytest.mark.parametrize(
    ("dates", "days"),
    [
        (("3/4/2019", "1/13/2019"), ("2019-01-13", "2019-03-04")),
        (("3/4/2019", "13/1/2019"), ("2019-01-13", "2019-04-03")),
        (("3.4.2019", "13/1/2019", "1/13/2019", "2019-02-30"), None),
    ],
)
def test_a_slash_means_what_the_column_says(dates, days):
    family = coded(repeated(*dates)) if days else coded([dates[k % 3] if k < 195 else dates[3] for k in ROWS])
    assert family.values == (days or ("2019-01-13", "2019-04-03"))
    assert days or names_of(family)[-5:] == [None] * 5


def test_dates_that_both_orders_allow_have_only_a_year():
    one_year = coded(repeated("13/1/2019", "1/14/2019", "2/3/2019", "5/5/2019"))
    assert names_of(one_year)[:8:2] == ["2019-01-13", "2019-01-14", None, "2019-05-05"]
    assert names_of(coded(repeated("13/1/2019", "1/14/2019", "2/3/2018")))[4] == "2018"


def test_rare_junk_among_numbers_is_unknown_and_common_junk_makes_text():
    junk = [str(k // 2) for k in ROWS]
    junk[3:6] = ["?", "n/a", "1e999"]
    assert coded(junk).codes[2:7].tolist() == [0, -1, -1, -1, 0]
    assert coded([cell if k % 10 else "?" for k, cell in enumerate(junk)]) == "too many values"


@pytest.mark.parametrize("as_text", [True, False])
def test_measured_numbers(as_text):
    numbers = np.repeat(np.linspace(0, 1, N // 2, dtype=np.float32), 2)
    numbers[4:6] = np.nan, np.inf
    family = coded([f"{x}" for x in numbers] if as_text else numbers, source="measured")
    assert family.source == "measured" and (family.codes[4:6] == -1).all() and len(family.values) == 4
    assert coded(np.resize(np.float32([4 / 3, 0.75]), N // 2).repeat(2)).values == ("0.75", "1.333333")


def test_only_fitted_rows_move_edges_and_make_values():
    cells = [str(k // 2) for k in ROWS]
    changed = cells[:100] + [str(10**6 + k) for k in range(100)]
    first, second = (coded(column, ROWS[:100]) for column in (cells, changed))
    assert first.values == second.values == ("<= 12", "13 to 24", "25 to 37", "> 37")
    assert (second.codes[100:] == 3).all() and (first.codes[:100] == second.codes[:100]).all()
    words = coded(repeated("a", "b")[:60] + [f"id {k}" for k in range(140)], ROWS[:60])
    assert words.values == ("a", "b") and (words.codes[60:] == -1).all()


@given(st.lists(st.sampled_from(["", "red", "blue", "=1+1", "x" * 70, "two\nlines", "rare"]), min_size=2, max_size=250))
def test_names_by_code_are_the_column_of_words(cells):
    families, _ = code_columns({"x": cells}, np.arange(len(cells)), np.zeros(len(cells), np.int64))
    for name, cell in ((name, cell) for family in families for name, cell in zip(names_of(family), cells, strict=True)):
        assert name == readable([cell])[0] if name not in (None, "other") else cells.count(cell) < 3 or not cell


@given(st.lists(st.integers(-30, 30), min_size=2, max_size=250))
def test_names_by_code_are_the_column_of_numbers_or_bins_that_hold_them(numbers):
    families, _ = code_columns({"x": [str(x) for x in numbers]}, np.arange(len(numbers)), np.zeros(len(numbers), int))
    for name, x in ((name, x) for family in families for name, x in zip(names_of(family), numbers, strict=True)):
        if name in (None, "other"):
            assert numbers.count(x) < 3
        elif name[0] in "<>":
            assert x <= int(name[3:]) if name[0] == "<" else x > int(name[2:])
        else:
            lower, _, upper = name.partition(" to ")
            assert int(lower) <= x <= int(upper or lower)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=12, max_size=200), st.integers(0, 20))
def test_equal_numbers_are_in_one_bin_and_bins_are_in_order(numbers, number_of_ties):
    numbers = np.array(numbers + numbers[:1] * number_of_ties, np.float32)
    families, _ = code_columns({"x": numbers}, np.arange(len(numbers)), np.zeros(len(numbers), np.int64))
    for family in families:
        order = np.argsort(numbers, kind="stable")
        steps, equal = np.diff(family.codes[order]), np.diff(numbers[order]) == 0
        assert "other" in family.values or (steps >= 0).all()
        assert (steps[equal] == 0).all() and (family.codes >= 0).all()
        assert (np.bincount(family.codes) >= 0.01 * len(numbers)).all()


def test_names_are_short_visible_and_different():
    names = readable(["a" * 70 + "1", "a" * 70 + "2", "\x1b[2J", "=1", "x" * 64, ""])
    assert len(set(names)) == 6 and max(map(len, names)) == 64 and names[2:4] == ("\\x1b[2J", "=1")
    long = coded(repeated("b" * 99 + "1", "b" * 99 + "2"))
    assert len(set(long.values)) == 2 and (np.bincount(long.codes) == N // 2).all()


# --- captions and pairs


def test_words_and_pairs_of_words():
    captions = [f"A {'Weißer' if k % 3 else 'black'} dog’s house{', at NIGHT' * (k % 4 > 1)}" for k in range(600)]
    captions[5], labels = "", np.arange(600) // 5 % 2
    families = {family.name: family for family in code_captions(captions, labels)}
    assert list(families) == ["weisser", "night", "black"]  # not "at night", which is in the same images
    assert families["night"].values == ("without night", "night") and families["night"].source == "caption"
    assert families["night"].codes.tolist() == [-1 if k == 5 else int(k % 4 > 1) for k in range(600)]


@pytest.mark.parametrize(("number", "is_kept"), [(LEAST_IMAGES - 1, False), (LEAST_IMAGES, True)])
@pytest.mark.parametrize("with_word", [True, False])
def test_a_word_must_be_in_enough_images_and_absent_in_as_many(number, is_kept, with_word):
    captions = ["red" if (k < number) == with_word else "a blue" for k in ROWS]
    assert ("red" in [family.name for family in code_captions(captions, LABELS * 0)]) is is_kept


def test_a_pair_of_words_differs_from_its_words():
    captions = [("red dog", "dog red", "red cat", "blue dog")[k // 2 % 4] for k in ROWS]
    families = {family.name: family.codes.tolist() for family in code_captions(captions, LABELS)}
    assert families["red dog"] == [int(caption == "red dog") for caption in captions]
    assert "dog red" in families and families["cat"] == [int("cat" in caption) for caption in captions]


def test_words_that_go_with_the_class_and_more_than_500_words_are_no_families():
    captions = ["a dog" if label else "a cat" for label in LABELS]
    captions[:5] = ["a cat and a dog"] * 5  # too few to say more than the class
    assert code_captions(captions, LABELS) == [] == code_captions([""] * N, LABELS)
    rng = np.random.default_rng(0)
    many = [" ".join(f"w{word}" for word in rng.permutation(700)[:100]) for _ in range(1000)]
    families = code_captions(many, np.zeros(1000, np.int64))
    counts = [int(family.codes.sum()) for family in families]
    assert len(families) == MOST_WORDS and counts == sorted(counts, reverse=True)


@pytest.mark.parametrize(
    ("cells", "others", "codes"),
    [
        (repeated("red", "blue"), ["blue", " red", "green", ""], [0, 1, -1, -1]),
        (repeated("1", "2.0"), ["2", "1.00", "3", "", "x"], [1, 0, -1, -1, -1]),
        (repeated("0", "-1"), ["-0.0", "-1"], [1, 0]),
        ([str(k // 2) for k in ROWS], ["-5", "24", "25", "1e9", "nan", "1e999"], [0, 0, 1, 3, -1, -1]),
        ([f"{k},5" for k in ROWS], ["1,234"], [0]),  # alone, it would be a thousand
        ([f"{k + 1},000" for k in ROWS], ["150,001"], [3]),
        (repeated("3/4/2019", "13/1/2019"), ["3/4/2019"], [1]),
        (repeated("3/4/2019", "13/1/2019"), ["3/4/2019", "1/13/2019"], [-1, 0]),  # it may be either then
        (repeated("3/4/2019", "4/13/2019"), ["3/4/2019"], [0]),
        (repeated("2016-01-02", "3.4.2017"), ["2017-12-31", "2018-01-01"], [1, -1]),
        (np.arange(N, dtype=np.float32), np.array([-1, 49, 50, np.nan], np.float32), [0, 0, 1, -1]),
    ],
)
def test_other_images_get_the_values_that_were_learnt(cells, others, codes):
    coding = learn_coding("column", "x", cells, ROWS, LABELS)
    assert coding.rule.codes_of(others).tolist() == codes


def test_pairs_have_the_combinations_that_occur():
    a = CodedFamily("column", "camera", ("x", "y"), np.array([0, 1, -1, 0, 1, 0] * 50))
    b = CodedFamily("caption", "dog", ("without dog", "dog"), np.array([0, 1, 1, -1, 1, 1] * 50))
    one, other = GuessedFamily.coded(a), GuessedFamily.coded(b)
    pair = GuessedFamily.pair(one, other)
    assert (pair.source, pair.family.name, pair.of_pair) == ("pair", "camera × dog", (one, other))
    assert pair.family.names == ["x, without dog", "x, dog", "y, dog"]
    assert pair.guessed.guesses[:6].tolist() == [0, 2, -1, -1, 2, 1]
    b.codes[5:296:6] = -1
    assert GuessedFamily.pair(one, other).family.names == ["x, without dog", "y, dog"]  # the third is rare now
    b.codes[1::6] = b.codes[4::6] = -1
    assert GuessedFamily.pair(one, other) is None
    assert GuessedFamily.pair(one, replace(other, guessed=None)) is None  # too few names have images in another split
