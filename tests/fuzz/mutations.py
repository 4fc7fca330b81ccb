"""Files made from those of a corpus by a few edits, as a hypothesis strategy."""

import re
from collections.abc import Callable, Mapping, Sequence

from hypothesis import strategies as st

MOST_BYTES = 1 << 16
TOKENS = [
    *(b"\0", b"\n", b"\r\n", b"\r", b'"', b'""', b",", b";", b"\t", b" ", b"=", b"{}", b"[]", b"null", b"{", b"}"),
    *(b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"\xc3\xa9", b"e\xcc\x81", b"\\ud800", b"\\u0000"),
    *(b"\x1b[2J", b"\xe2\x80\xa8", b"\xc2\x85", b"../", b"/etc/passwd", b"./", b"a" * 300, b"{{}}"),
    *(b"<html>", b"PK\x03\x04", b"\x80\x04N.", b"\x93NUMPY", b"BM", b"GIF89a", b"[" * 5000, b'{"a":' * 2000),
]
NUMBERS = [0, 1, -1, 2, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1, 10**30]
WRITTEN = [
    *(str(number).encode() for number in NUMBERS),
    *(b"NaN", b"Infinity", b"1e999", b"1.5", b"-0", b"007", b"9" * 5000),
]
VALUE = re.compile(rb'"[^"\n]{0,99}"|\[[^\[\]]{0,99}\]|\{[^{}]{0,99}\}|[A-Za-z0-9_.-]+')
VALUES = [b"null", b"true", b"[]", b"{}", b'""', b'"x"', b"-1", b"3", b"1e999", b"[null]", b'{"a": 1}', b"NaN", b""]

Edit = Callable[[st.DrawFn, bytes, Sequence[bytes]], bytes]


@st.composite
def mutated(draw: st.DrawFn, corpus: Mapping[str, bytes], foreign: Sequence[bytes]) -> bytes:
    """A file of ``corpus``, mostly a good one, with one to four edits; some go on with another, or a foreign one."""
    everything = list(corpus.values())
    good = [content for name, content in corpus.items() if name.startswith("good-")]
    content = draw(st.sampled_from(draw(st.sampled_from([good, good, good, everything]))))
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3, 4]))):
        content = draw(st.sampled_from(EDITS))(draw, content, [*everything, *foreign])[:MOST_BYTES]
    return content


def _place(draw: st.DrawFn, content: bytes) -> int:
    return draw(st.integers(0, len(content)))


def _range(draw: st.DrawFn, content: bytes) -> tuple[int, int]:
    start = _place(draw, content)
    return start, min(len(content), start + draw(st.integers(1, 64)))


def _truncate(draw: st.DrawFn, content: bytes, others: Sequence[bytes]) -> bytes:
    return content[: _place(draw, content)]


def _delete(draw: st.DrawFn, content: bytes, others: Sequence[bytes]) -> bytes:
    start, end = _range(draw, content)
    return content[:start] + content[end:]


def _duplicate(draw: st.DrawFn, content: bytes, others: Sequence[bytes]) -> bytes:
    start, end = _range(draw, content)
    return content[:start] + content[start:end] * draw(st.sampled_from([2, 3, 1000])) + content[end:]


def _splice(draw: st.DrawFn, content: bytes, others: Sequence[bytes]) -> bytes:
    other = draw(st.sampled_from(others))
    return content[: _place(draw, content)] + other[_place(draw, other) :]


def _change_bytes(draw: st.DrawFn, content: bytes, others: Sequence[bytes]) -> bytes:
    start = _place(draw, content)
    new = draw(st.binary(min_size=1, max_size=4))
    return content[:start] + new + content[start + len(new) :]


def _insert(draw: st.DrawFn, content: bytes, others: Sequence[bytes]) -> bytes:
    start = _place(draw, content)
    return content[:start] + draw(st.sampled_from(TOKENS)) + content[start:]


def _write_number(draw: st.DrawFn, content: bytes, others: Sequence[bytes]) -> bytes:
    """Another number where one is written."""
    found = [match.span() for match in re.finditer(rb"[0-9]+", content[:MOST_BYTES])] or [(0, 0)]
    start, end = draw(st.sampled_from(found))
    return content[:start] + draw(st.sampled_from(WRITTEN)) + content[end:]


def _write_value(draw: st.DrawFn, content: bytes, others: Sequence[bytes]) -> bytes:
    """Another value, or one from elsewhere in the file, where a word, a quoted text, a list or an object stands."""
    found = list(VALUE.finditer(content[:MOST_BYTES]))
    if not found:
        return content
    old, elsewhere = draw(st.sampled_from(found)), draw(st.sampled_from(found))[0]
    new = draw(st.sampled_from([elsewhere, *VALUES]))
    return content[: old.start()] + new + content[old.end() :]


def _change_field(draw: st.DrawFn, content: bytes, others: Sequence[bytes]) -> bytes:
    """Another number where a binary header may hold one."""
    size, order = draw(st.sampled_from([2, 4, 8])), draw(st.sampled_from(["little", "big"]))
    start = _place(draw, content)
    number = draw(st.sampled_from(NUMBERS)) % 256**size
    return content[:start] + number.to_bytes(size, order) + content[start + size :]


EDITS: list[Edit] = [
    *(_truncate, _delete, _duplicate, _splice),
    *(_change_bytes, _insert, _write_number, _write_value, _write_value, _change_field),
]
