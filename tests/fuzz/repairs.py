"""Lengths and checksums set right again after a mutation, so that it gets past them into the parser."""

import json
import zlib

from dbpt.storage.tensors import DIGEST, _digest


def safetensors(content: bytes) -> bytes:
    """The length of the header that is there."""
    text = content[8:].decode("latin-1")
    try:
        _, length = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return content
    length = len(text) - len(text[length:].lstrip(" "))
    return length.to_bytes(8, "little") + content[8:]


def digest(content: bytes) -> bytes:
    """The length of the header and the digest in its metadata."""
    content = safetensors(content)
    end = 8 + int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8:end])
        found = header["__metadata__"].pop(DIGEST).encode()
        right = _digest(header, memoryview(content)[end:]).encode()
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return content
    return content[:8] + content[8:end].replace(found, right) + content[end:] if len(found) == len(right) else content


def tar(content: bytes) -> bytes:
    """The checksum of each header, in whole blocks."""
    blocks = [content[start : start + 512].ljust(512, b"\0") for start in range(0, len(content), 512)]
    return b"".join(map(_summed, blocks)) + bytes(1024)


def _summed(block: bytes) -> bytes:
    if block[257:262] != b"ustar":
        return block
    blank = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(blank) + block[156:]


def png(content: bytes) -> bytes:
    """The checksum of each chunk."""
    repaired, start = content[:8], 8
    while repaired.startswith(b"\x89PNG") and start + 12 <= len(content):
        end = start + 8 + int.from_bytes(content[start : start + 4], "big")
        if end + 4 > len(content):
            break
        repaired += content[start:end] + zlib.crc32(content[start + 4 : end]).to_bytes(4, "big")
        start = end + 4
    return repaired + content[len(repaired) :]
