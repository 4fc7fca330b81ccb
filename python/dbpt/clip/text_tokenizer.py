"""The tokenizer of a backbone: open_clip's for the model, or a local `tokenizer.json`."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import open_clip
import torch
from open_clip.tokenizer import get_clean_fn

from dbpt.clip.hub import quiet_hub
from dbpt.errors import InputError, foreign_error, optional_module
from dbpt.files.disk import check_readable
from dbpt.files.typed_json import read_json


class Tokenizer(Protocol):
    """A function that turns texts into ids, padded and cut to ``context_length`` (default: the model's)."""

    def __call__(self, texts: list[str], context_length: int | None = None) -> torch.Tensor:
        """Return the ids (P, context_length) int64."""


# It parses 49,408 merges.
_clip_tokenizer: Callable[..., Tokenizer] = lru_cache(maxsize=4)(open_clip.SimpleTokenizer)


def context_length(config: dict[str, Any]) -> int:
    """Return the number of token positions of the text tower."""
    return int(config["text_cfg"].get("context_length", 77))


def first_cut(tokenizer: Tokenizer, texts: Sequence[str], ids: torch.Tensor) -> int | None:
    """Return the row of the first text that was cut in ``ids`` (P, L); None if all fit.

    With one position more, a text that fits only gets more padding, even if padding looks like the end token.
    """
    length = ids.shape[1]
    longer = tokenizer([*texts, ""], context_length=length + 1)
    is_cut = (longer[:-1, :length] != ids).any(dim=1) | (longer[:-1, length] != longer[-1, length])
    return int(is_cut.int().argmax()) if bool(is_cut.any()) else None


def model_tokenizer(name: str) -> Tokenizer:
    """Return open_clip's tokenizer for a named model. Raises `InputError` if the network or a package is missing."""
    try:
        with quiet_hub():
            return open_clip.get_tokenizer(name)  # type: ignore[no-any-return]
    except Exception as error:  # missing packages, no network, a folder without the files
        raise InputError(
            f"model {name!r}: its tokenizer could not be loaded ({foreign_error(error, 80)}); "
            "give a local tokenizer.json, or the folder that holds it, with --tokenizer"
        ) from error


def simple_tokenizer(config: dict[str, Any]) -> Tokenizer:
    """Return the CLIP tokenizer (lower-cased BPE of 49,408 entries) at the config's context length."""
    if config["text_cfg"].get("hf_tokenizer_name"):
        raise InputError(
            f"the model's config names the tokenizer {config['text_cfg']['hf_tokenizer_name']!r}; "
            "give its tokenizer.json, or the folder that holds it, with --tokenizer"
        )
    return _clip_tokenizer(context_length=context_length(config))


def tokenizer_file(path: Path) -> Path:
    """Return `path`, or the tokenizer.json in the folder `path`."""
    file = path / "tokenizer.json" if os.path.isdir(path) else path  # noqa: PTH112 (Path.is_dir raises on long names)
    check_readable(file, "tokenizer", "expected a tokenizer.json or its folder")
    return file


@contextlib.contextmanager
def _refused(what: str) -> Iterator[None]:
    """Raise an `InputError` for whatever the package raises: a bare Exception, or a panic, which is a BaseException."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise InputError(f"{what} ({foreign_error(error, 80)})") from None


class FileTokenizer:
    """A Hugging Face ``tokenizer.json``, padded and cut to the model's context length as open_clip does."""

    def __init__(self, file: Path, config: dict[str, Any]) -> None:
        tokenizers = optional_module("tokenizers", f"{file}: reading it", "tokenizers")
        text_cfg = config["text_cfg"]
        if text_cfg.get("tokenizer_mode"):
            raise InputError(f"{file}: tokenizer mode {text_cfg['tokenizer_mode']!r} is not supported from a file")
        with _refused(f"{file}: not a tokenizer.json"):
            self._tokenizer = tokenizers.Tokenizer.from_file(str(file))
        self._file, self._length = file, context_length(config)
        options = text_cfg.get("tokenizer_kwargs") or {}
        self._clean = get_clean_fn(options.get("clean", "whitespace"))
        pad = self._tokenizer.padding["pad_id"] if self._tokenizer.padding else self._special_id("pad_token")
        self._pad = int(text_cfg.get("pad_id", 0) if pad is None else pad)
        self._stripped: int | None = None
        if options.get("strip_sep_token"):  # open_clip replaces it by 0 for models trained without an end token (CLIPA)
            separator = self._special_id("sep_token")
            self._stripped = self._tokenizer.token_to_id("[SEP]") if separator is None else separator
            if self._stripped is None:
                raise InputError(
                    f"{file}: no [SEP] token, which this model replaces by padding: it belongs to another model"
                )

    def _special_id(self, name: str) -> int | None:
        """Return the id of a special token in the tokenizer_config.json beside the file; None if it isn't there."""
        beside = self._file.with_name("tokenizer_config.json")
        if not os.path.lexists(beside):
            return None
        token = read_json(beside, "tokenizer_config.json").get(name)
        token = token.get("content") if isinstance(token, dict) else token
        found: int | None = self._tokenizer.token_to_id(token) if isinstance(token, str) else None
        return found

    def __call__(self, texts: list[str], context_length: int | None = None) -> torch.Tensor:
        """Tokenize to (P, context_length) int64."""
        length = context_length or self._length
        self._tokenizer.enable_truncation(max_length=length)
        self._tokenizer.enable_padding(length=length, pad_id=self._pad)
        with _refused(f"{self._file}: can't tokenize the prompts"):
            encoded = self._tokenizer.encode_batch([self._clean(text) for text in texts])
        ids = torch.tensor([one.ids for one in encoded], dtype=torch.int64)
        return ids if self._stripped is None else ids.masked_fill(ids == self._stripped, 0)
