"""The order of families whose values the data say: what comes first, what is no further finding, and pairs."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from dbpt.evaluation.family_guesses import GuessedFamily, Images
from dbpt.evaluation.family_proposal import LARGEST_Q, Score
from dbpt.evaluation.family_ranking import likeness, score_families
from dbpt.guesses.value_families import CodedFamily

N = 2000


def images(seed: int = 0) -> tuple[Images, np.random.Generator]:
    random = np.random.default_rng([seed, 7])
    backbone = cast(Any, SimpleNamespace())
    labels, features = random.integers(0, 3, N), np.zeros((N, 1), np.float32)
    return Images(backbone=backbone, features=features, labels=labels, num_classes=3, seed=seed), random


def family(name: str, codes: NDArray[np.int64], source: Any = "column") -> GuessedFamily:
    values = tuple(f"{name} {code}" for code in range(int(codes.max()) + 1))
    return GuessedFamily.coded(CodedFamily(source, name, values, codes))


def noise(random: np.random.Generator, number: int, size: int = 2) -> list[GuessedFamily]:
    return [family(f"noise {i}", random.integers(0, size, N)) for i in range(number)]


def by_name(scores: list[Score]) -> dict[str, Score]:
    return {score.of.family.name: score for score in scores}


def test_of_families_that_split_alike_the_one_with_fewer_names_is_first_and_words_before_the_data() -> None:
    shown, random = images()
    place = random.integers(0, 2, N)
    finer = place * 4 + random.integers(0, 4, N)
    right = random.uniform(size=N) < np.where(place == 1, 0.5, 0.95)
    scores = score_families([family("finer", finer), family("place", place), *noise(random, 5)], shown, right)
    assert [score.of.family.name for score in scores if score.is_proposed] == ["place", "finer"]
    assert [score.like for score in scores[:2]] == [None, "column:place"]
    words, column = family("words", place, "words"), family("place", place)
    assert likeness(words, column) == 1
    first = GuessedFamily(family=words.family, guessed=words.guessed, beyond=words.guessed)
    assert [score.of.family.name for score in score_families([column, first], shown, right)[:2]] == ["words", "place"]


def test_a_family_that_explains_clearly_more_is_first_though_another_splits_alike() -> None:
    shown, random = images()
    place, style = random.integers(0, 2, (2, N))
    noisy = np.where(random.uniform(size=N) < 0.12, 1 - place, place)
    right = random.uniform(size=N) < np.where(place == 1, 0.3, 0.97)
    scores = by_name(score_families([family("noisy", noisy), family("place", 2 * place + style)], shown, right))
    assert scores["noisy"].is_proposed and scores["noisy"].share < scores["place"].least_share
    assert next(iter(scores)) == "place" and scores["noisy"].like == "column:place"


def test_a_family_that_is_known_for_few_images_explains_few_of_all_errors() -> None:
    shown, random = images()
    place, known = random.integers(0, 2, N), random.uniform(size=N) < 0.2
    right = random.uniform(size=N) < np.where(place == 1, 0.6, 0.95)
    families = [family("part", np.where(known, place, -1)), family("place", place)]
    scores = by_name(score_families(families, shown, right))
    part, first = scores["part"], next(iter(scores.values()))
    assert part.is_proposed and part.explained is not None and part.explained.errors.errors == (~right).sum()
    assert first.of.key == "column:place" and 0.1 < part.share < 0.25 < first.least_share
    other = random.integers(0, 2, N)
    right &= random.uniform(size=N) < np.where(other == 1, 0.8, 1)
    scores = by_name(score_families([families[0], family("other", other)], shown, right))
    assert scores["other"].is_distinct  # though few images tell part and other apart


def test_a_family_that_goes_with_the_first_one_is_no_further_finding() -> None:
    shown, random = images()
    place = random.integers(0, 2, N)
    follower = np.where(random.uniform(size=N) < 0.5, random.integers(0, 2, N), place)
    right = random.uniform(size=N) < np.where(place == 1, 0.5, 0.95)
    scores = by_name(score_families([family("follower", follower), family("place", place)], shown, right))
    assert scores["follower"].is_proposed and scores["follower"].through == "column:place"


@pytest.mark.full
def test_pairs_hardly_lower_the_power_for_single_families() -> None:
    found = np.zeros(2, int)
    for seed in range(10):
        random = np.random.default_rng([seed, 8])
        labels, place = random.integers(0, 2, (2, 300))
        few = replace(images()[0], labels=labels, features=np.zeros((300, 1), np.float32), num_classes=2)
        right = random.uniform(size=300) < np.where(place == 1, 0.64, 0.85)
        others = [family(f"noise {i}", random.integers(0, 2, 300)) for i in range(10)]
        for pairs in (False, True):
            scores = by_name(score_families([family("place", place), *others], few, right, pairs=pairs))
            found[int(pairs)] += scores["place"].is_proposed
    assert 5 < found[0] <= found[1] + 1


@pytest.mark.parametrize("families", [60, pytest.param(700, marks=pytest.mark.full)])
def test_one_true_family_is_found_among_many(families: int) -> None:
    """With 9,999 permutations alone, the smallest p-value times 700 is above the limit."""
    shown, random = images(families)
    place = random.integers(0, 2, N)
    right = random.uniform(size=N) < np.where(place == 1, 0.7, 0.95)
    scores = score_families([*noise(random, families - 1), family("place", place)], shown, right)
    assert [score.of.family.name for score in scores if score.is_proposed] == ["place"]


def test_a_pair_is_proposed_only_if_both_matter_and_it_explains_more() -> None:
    shown, random = images(1)
    one, other = random.integers(0, 2, (2, N))
    both = random.uniform(size=N) < np.where((one == 1) & (other == 1), 0.2, 0.95)
    families = [family("one", one), family("other", other), *noise(random, 3)]
    scores = by_name(score_families(families, shown, both, pairs=True))
    assert list(scores)[2] == "one × other" and scores["one × other"].is_distinct and scores["one × other"].of.size == 4
    additive = random.uniform(size=N) < 0.95 - 0.4 * one - 0.4 * other
    scores = by_name(score_families(families, shown, additive, pairs=True))
    assert scores["one × other"].least_share > max(scores["one"].share, scores["other"].share)
    either = random.uniform(size=N) < np.where(one == other, 0.4, 0.95)
    scores = by_name(score_families(families, shown, either, pairs=True))
    assert next(iter(scores)) == "one × other" and not scores["one"].is_proposed
    alone = random.uniform(size=N) < np.where(one == 1, 0.5, 0.95)
    scores = by_name(score_families(families, shown, alone, pairs=True))
    assert [name for name, score in scores.items() if score.is_proposed] == ["one"]


@pytest.mark.parametrize("seeds", [3, pytest.param(10, marks=pytest.mark.full)])
def test_errors_without_dependence_propose_nothing(seeds: int) -> None:
    proposed = 0
    for seed in range(seeds):
        shown, random = images(seed)
        right = random.uniform(size=N) < np.array([0.6, 0.8, 0.95])[shown.labels]
        scores = score_families(noise(random, 30, size=1 + seed % 3 + 1), shown, right, pairs=seed == 0)
        proposed += any(score.is_proposed for score in scores)
        q_values = [score.explained.q_value for score in scores if score.explained and score.explained.q_value]
        assert min(q_values) > LARGEST_Q / 30
    assert proposed <= seeds // 5


def test_families_of_one_name_from_two_sources_are_not_confused() -> None:
    shown, random = images()
    place, other = random.integers(0, 2, (2, N))
    right = random.uniform(size=N) < 0.95 - 0.4 * place - 0.3 * other
    families = [family("same", place), family("same", other, "measured")]
    scores = score_families(families, shown, right, pairs=True)
    assert [score.of.key for score in scores] == ["column:same", "measured:same", "pair:same × same"]
    assert [part.key for part in scores[2].of.of_pair] == ["column:same", "measured:same"]
    assert scores[2].alone == (scores[0].share, scores[0].explained.difference.value)  # type: ignore[union-attr]
