"""Fuzz targets: parsers with a corpus of small files, and the outcomes that a file of any bytes may have."""

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbpt.errors import InputError
from dbpt.features import UnreadableImage

CORPUS = Path(__file__).parent / "corpus"
LONGEST_LINE = 2000
SECONDS = 20
"""Seconds of the processor; a parser has thirty times as many on the clock, since other programs compute too."""
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

Parse = Callable[[bytes], object]


@dataclass(frozen=True)
class Workplace:
    """A target is prepared in an empty folder, with pytest's fixtures by name and the corpus, which may grow."""

    folder: Path
    fixture: Callable[[str], Any]
    corpus: dict[str, bytes]

    def parser_of(self, name: str, read: Callable[[Path], object]) -> Parse:
        """``read``, of a file called ``name`` in the folder; one that is there already joins the corpus as good."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            self.corpus[f"good-{path.name}"] = path.read_bytes()

        def parse(content: bytes) -> object:
            path.write_bytes(content)
            return read(path)

        return parse


Prepare = Callable[[Workplace], Parse]


@dataclass(frozen=True)
class Target:
    """A parser to prepare, and a repair of the lengths and checksums that protect its format."""

    prepare: Prepare
    repair: Callable[[bytes], bytes]


TARGETS: dict[str, Target] = {}


def target(repair: Callable[[bytes], bytes] = bytes, name: str | None = None) -> Callable[[Prepare], Prepare]:
    """Register a target under ``name`` or that of the function, which its folder in `CORPUS` has too.

    The function gets a `Workplace` and returns what parses bytes. Of what was accepted that asserts what must hold.
    """

    def register(prepare: Prepare) -> Prepare:
        TARGETS[name or prepare.__name__] = Target(prepare, repair)
        return prepare

    return register


def corpus_of(name: str) -> dict[str, bytes]:
    """The files of a target by name; ``good-`` ones must be accepted, ``bad-`` ones refused."""
    return {file.name: file.read_bytes() for file in sorted((CORPUS / name).iterdir())}


def refusal(parse: Parse, content: bytes) -> str | None:
    """The line that the bytes are refused with, None if they are accepted. Whatever else is raised is a finding."""
    try:
        with _time_limit():
            parse(content)
    except (InputError, UnreadableImage) as error:
        line = str(error)
        assert line.strip() and not UNPRINTABLE.search(line), f"not one line: {line!r}"
        assert "Traceback" not in line and len(line) <= LONGEST_LINE, f"no line to read: {line[:3000]!r}"
        return line
    return None


class Hang(BaseException):
    """Not an `Exception`, which a parser might take for a reason to refuse."""


@contextmanager
def _time_limit() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise Hang(f"over {SECONDS} s")

    timers = ((signal.ITIMER_PROF, signal.SIGPROF, SECONDS), (signal.ITIMER_REAL, signal.SIGALRM, 30 * SECONDS))
    before = [signal.signal(number, stop) for _, number, _ in timers]
    try:
        for timer, _, seconds in timers:
            signal.setitimer(timer, seconds)
        yield
    finally:
        for (timer, number, _), handler in zip(timers, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)
