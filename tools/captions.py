"""Captions for training the small CLIP, like those of the web: words and sentences for each demo."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Captions:
    """Wordings of the two classes and attributes, and sentences by what they mention."""

    names: tuple[tuple[str, ...], tuple[str, ...]]
    places: tuple[tuple[str, ...], tuple[str, ...]]
    sentences: dict[str, tuple[str, ...]]


CAPTIONS = {
    "waterbirds": Captions(
        names=(
            ("landbird", "landbird", "land bird", "songbird", "sparrow"),
            ("waterbird", "waterbird", "water bird", "seabird", "gull"),
        ),
        places=(
            ("land background", "land background", "forest", "meadow", "land", "field"),
            ("water background", "water background", "ocean", "lake", "water", "sea"),
        ),
        sentences={
            "object": (
                "This is a picture of a {name}.",
                "This is a picture of a {name}.",
                "a photo of a {name}.",
                "a {name}.",
                "{name}",
                "the {name} that we saw today",
            ),
            "place": (
                "This is a {place}.",
                "This is a {place}.",
                "a photo of a {place}.",
                "{place}",
                "a view of the {place}",
            ),
            "both": (
                "a photo of a {name} in front of a {place}.",
                "a {name} and the {place}",
                "This is a picture of a {name} with a {place}.",
            ),
        },
    ),
    "celeba": Captions(
        names=(
            ("dark hair", "dark hair", "black hair", "brown hair"),
            ("blond hair", "blond hair", "blonde hair", "fair hair"),
        ),
        places=(
            ("female celebrity", "female celebrity", "woman", "actress", "female", "lady"),
            ("male celebrity", "male celebrity", "man", "actor", "male", "gentleman"),
        ),
        sentences={
            "object": (
                "A photo of a celebrity with {name}.",
                "A photo of a celebrity with {name}.",
                "a celebrity with {name}",
                "{name}",
                "a face with {name}.",
                "a photo of a person with {name}.",
            ),
            "place": (
                "A photo of a {place}.",
                "A photo of a {place}.",
                "a picture of a {place}",
                "{place}",
                "portrait of a {place}",
            ),
            "both": ("A photo of a {place} with {name}.", "a {place} with {name}", "the {name} of a {place}"),
        },
    ),
    "metashift": Captions(
        names=(
            ("dog", "dog", "dog", "puppy", "hound"),
            ("cat", "cat", "cat", "kitten", "kitty"),
        ),
        places=(
            ("outdoors", "outdoors", "outside", "in a garden", "in a park"),
            ("indoors", "indoors", "inside", "in a room", "in a living room"),
        ),
        sentences={
            "object": (
                "a photo of a {name}.",
                "a photo of a {name}.",
                "This is a picture of a {name}.",
                "a {name}",
                "my {name}",
            ),
            "place": (
                "a photo taken {place}.",
                "a photo taken {place}.",
                "{place}",
                "a picture taken {place}",
                "it was {place}",
            ),
            "both": ("a photo of a {name} {place}.", "a {name} {place}", "my {name} was {place}"),
        },
    ),
}
