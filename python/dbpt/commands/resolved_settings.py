"""From what `fit` or `compare` is asked to all settings: `Request`, `Resolved`."""

from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dbpt.commands.auto_attributes import FOUND_SETTINGS, with_found_attributes
from dbpt.data import DataLike
from dbpt.errors import InputError
from dbpt.runs.output_folder import OutputFolder, is_missing_data, refuse_missing_data
from dbpt.settings.config import FitConfig, override
from dbpt.settings.fields import AUTO
from dbpt.study.data import resolve_demo
from dbpt.training.ranks import ALONE, Ranks


@dataclass(frozen=True)
class Resolved:
    """Settings that name files and attributes.

    Attributes:
        asked: those that a command repeats: with the name of a demo, and the attributes that a search found.
        config: the same with the files of a demo.
        notes: about the data: how ``--attributes auto`` found the attribute.
    """

    asked: FitConfig
    config: FitConfig
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Request:
    """A command that trains, and writes the ``folder`` ``out``, which it may ``resume`` or ``overwrite``."""

    folder: OutputFolder[Any]
    out: Path
    resume: bool
    overwrite: bool

    @property
    def continued(self) -> Any:
        """The marker of what is continued; None if it starts there."""
        return self.folder.read_marker(self.out) if self.resume and self.folder.has_settings(self.out) else None

    def settings(
        self, data: "DataLike | None", given: dict[str, Any], without: Collection[str] = ()
    ) -> "tuple[DataLike, dict[str, Any]]":
        """Return the data and the settings that are given; without data, those of what is continued fill the gaps.

        So do they if its data are gone, and ``data`` says where they are now. Settings that are named in ``without``
        are not taken from there.
        """
        if data is not None and self.continued is None:
            return data, given
        if not self.resume:
            problem = f"name a data set, or continue {self.folder.a_title} with --resume"
            raise InputError(f"data: none is named; {problem}")
        self.folder.read_marker(self.out)
        self.folder.check(self.out, resume=self.resume, overwrite=self.overwrite)
        written = self.folder.written_settings(self.out)
        own = written.pop("data")
        if data is None:
            refuse_missing_data(own, self.out)
        elif not is_missing_data(own):
            return data, given
        given = override({name: value for name, value in written.items() if name not in without}, given)
        return own if data is None else data, given

    def held(self) -> AbstractContextManager[object]:
        """Lock the folder."""
        return self.folder.held(self.out, resume=self.resume, overwrite=self.overwrite)

    def start(self, description: dict[str, Any], config: FitConfig) -> None:
        """Make the folder, or go on with it, with the content of its marker."""
        self.folder.start(self.out, description, config, resume=self.resume, overwrite=self.overwrite)

    def resolve(self, config: FitConfig, ranks: Ranks = ALONE) -> Resolved:
        """Search the attribute of ``--attributes auto`` and draw a demo, in the locked folder.

        Raises `InputError` if the folder was started with other settings, and as the search does.
        """
        continued, precision = ranks.from_first(lambda: self.continued), config.image_precision
        if continued is not None and precision == AUTO:  # which may be another one on another processor
            precision = ranks.from_first(lambda: self.folder.read_settings(self.out).image_precision)
        precise = replace(config, image_precision=precision)
        # what the first rank finds; other settings, such as the cache, are those of each rank
        named, notes = ranks.from_first(lambda: with_found_attributes(precise))
        asked = replace(precise, **{name: getattr(named, name) for name in FOUND_SETTINGS})
        if continued is not None:
            ranks.from_first(lambda: self.folder.check_settings(self.out, asked))
            notes = tuple(continued.notes)
        return Resolved(asked, ranks.together(lambda: resolve_demo(asked)), notes)
