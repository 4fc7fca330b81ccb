"""The exceptions that mean "the input is wrong". Any other exception is a bug."""

import re
from collections.abc import Collection, Container, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udc7f\udd00-\udfff]")
"""Line breaks, terminal codes, and surrogates that can't be printed: all but Python's escapes of file names' bytes."""
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
"""A number as people and programs write it. Python's ``int`` and ``float`` also take 0_1 and digits of any script."""
HEAD, TAIL = 1400, 500
MEMORY_ADVICE = {
    "--batch-size": "lower --batch-size (0 puts all rows into one batch), --text-memory-mb or --embed-batch-size, or "
    "choose another --device",
    "--embed-batch-size": "lower --embed-batch-size, or choose another --device",
    "--device": "choose another --device",
}
"""Advice for a full memory. A command gives that of the first of these options that it has."""


class InputError(ValueError):
    """Bad input from the user. One line names the file, row or argument, the value, and the fix.

    The command line prints it without a traceback and exits with code 2.

    Args:
        message: the text; control characters are escaped, and the middle of a very long one is cut out.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class NotFinite(InputError):
    """A feature is NaN or infinite; ``row`` is the first such row of the batch."""

    def __init__(self, message: str, row: int) -> None:
        super().__init__(message)
        self.row = row


def one_line(message: str) -> str:
    """Return the message with control characters escaped. The middle of a very long one is cut out."""
    line = CONTROL.sub(lambda match: repr(match[0])[1:-1], message)
    return line if len(line) <= HEAD + TAIL else f"{line[:HEAD]} [...] {line[-TAIL:]}"


def nearest(word: str, valid: "list[str]") -> str:
    """Return ``" (did you mean 'x'?)"`` for the `closest` valid name, or an empty string if none is close."""
    return f" (did you mean {name!r}?)" if (name := closest(word, valid)) else ""


def closest(word: str, valid: "list[str]") -> str:
    """Return the closest valid name, or an empty string. That numbers share digits means nothing."""
    from difflib import get_close_matches

    folded = {name.casefold(): name for name in reversed(valid)}  # of equal names the first
    close = get_close_matches(word.casefold(), folded, 1, 1.0 if NUMBER.fullmatch(word) else 0.6)
    return folded[close[0]] if close else ""


def plain_number(text: str) -> float:
    """Return the number in a text. Raises `ValueError` for what only Python takes for one; NaN and infinities pass."""
    if not NUMBER.fullmatch(text.strip()) and text.strip().lstrip("+-").lower() not in ("nan", "inf", "infinity"):
        raise ValueError(text)
    return float(text)


def in_digits(number: float) -> str:
    """Return a number in six digits, or in all that it needs.

    >>> in_digits(0.30000), in_digits(1.0000001)
    ('0.3', '1.0000001')
    """
    return short if float(short := f"{number:g}") == number else repr(float(number))


def per_cent_hint(value: Any) -> str:
    """Return ``; 80 per cent are 0.8`` for a number that may be meant so where a fraction is expected, else nothing."""
    is_per_cent = isinstance(value, int | float) and not isinstance(value, bool) and 1.01 < value <= 100
    return f"; {value:g} per cent are {value / 100:g}" if is_per_cent else ""


def first_few(texts: "list[str]", shown: int, separator: str = ", ") -> str:
    """Return the first texts of a list in one line, and the number of the others."""
    return separator.join(texts[:shown]) + (f" and {len(texts) - shown} more" if len(texts) > shown else "")


def classes_in_words(names: "list[str]") -> str:
    """Return ``class 'a'`` or ``classes 'a', 'b', 'c' and 2 more``."""
    return f"class{'es' if len(names) > 1 else ''} {first_few([repr(name) for name in names], 3)}"


def in_quotes(names: Collection[str], last: str = "and") -> str:
    """Return all names in one line.

    >>> in_quotes(["a", "b", "c"])
    "'a', 'b' and 'c'"
    """
    *others, final = map(repr, names)
    return f"{', '.join(others)} {last} {final}" if others else final


def foreign_error(error: BaseException, limit: int = 200) -> str:
    """Return the type and message of another library's exception on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:limit]}{'…' if len(text) > limit else ''}"


@contextmanager
def foreign_errors(problem: str, hint: str = "", limit: int = 200) -> Iterator[None]:
    """Turn whatever the code of others raises into `InputError`: ``problem (Type: its message); hint``."""
    try:
        yield
    except (InputError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # a panic in Rust is no Exception
        raise InputError(f"{problem} ({foreign_error(error, limit)})" + (f"; {hint}" if hint else "")) from error


def optional_module(name: str, needed_by: str, packages: str = "") -> Any:
    """Return a module that dbpt doesn't install. Raises `InputError` if it is missing.

    ``packages`` are those to install, by default the one of the module's name.
    """
    try:
        module = import_module(name)
        if module.__file__ is None:  # a folder of that name, such as ./wandb
            raise ImportError
        return module
    except ImportError:
        package = name.partition(".")[0]
        raise InputError(f"{needed_by} needs {package}; run pip install {packages or package}") from None


def out_of_memory(error: BaseException, options: Container[str] = MEMORY_ADVICE) -> str | None:
    """Return one line that says which of ``options`` help, or None if ``error`` doesn't mean that memory is full."""
    on_gpu = type(error).__name__ == "OutOfMemoryError"  # torch's class, by name: the command line doesn't import torch
    if not on_gpu and not isinstance(error, MemoryError) and "DefaultCPUAllocator" not in str(error):
        return None
    advice = next((text for option, text in MEMORY_ADVICE.items() if option in options), "use a larger machine")
    return f"out of memory{' on the GPU' if on_gpu else ''}: {advice}"
