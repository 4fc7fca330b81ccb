"""Classes by name: dbpt's own, those that a module registers, and the entry points of installed packages."""

import ast
import hashlib
import inspect
import os
import re
import sys
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from textwrap import dedent
from traceback import walk_tb
from types import FunctionType
from typing import Any, ClassVar, TypeVar

from dbpt.errors import InputError, foreign_errors, nearest

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
LIBRARIES = {"dbpt", "torch", "numpy", *sys.stdlib_module_names}


class Registered:
    """Base of the classes in a `Registry`."""

    name: ClassVar[str]
    """Its name as a setting; the registry sets it."""
    title: ClassVar[str]
    """Its name in tables and reports; the registry sets it to `name` if the class has none of its own."""


UNREAD = {"name", "title", *vars(Registered)}
"""Parts of a class that determine no result."""
T = TypeVar("T", bound=Registered)
C = TypeVar("C", bound=type[Registered])


class Registry(Mapping[str, type[T]]):
    """The subclasses of one base by name.

    Names are listed from the metadata of installed packages; a class is imported when its name is looked up. An entry
    point that cannot be used raises `InputError` only there. dbpt's own names are found without the metadata. Other
    names may also be registered by the modules in ``$DBPT_PLUGINS``, which are imported before such a name is sought.

    Args:
        setting: the setting of `FitConfig` that chooses one.
        group: the group of entry points.
        base: the base class, as ``"module:Class"``.
        own: dbpt's classes, in the same form, by their names.
        reserved: names that mean something else to the setting.
    """

    def __init__(
        self, setting: str, group: str, base: str, own: Mapping[str, str], reserved: Collection[str] = ()
    ) -> None:
        self.setting, self.group, self._reserved = setting, group, reserved
        self._base = EntryPoint("", base, group)
        self._own = {name: EntryPoint(name, value, group) for name, value in own.items()}
        self._classes: dict[str, type[T]] = {}

    def __getitem__(self, name: str) -> type[T]:
        if name not in self:  # this may import modules, which register names
            raise KeyError(name)
        if name not in self._classes:
            kind = self._own[name].load() if name in self._own else self._load_installed(name)
            self._classes[name] = _named(kind, name)
        return self._classes[name]

    def __contains__(self, name: object) -> bool:
        if name in self._own or name in self._classes:
            return True
        # `_installed` imports plugins, which may register the name.
        return self._problem_of_name(name) is None and (name in self._installed() or name in self._classes)

    def __iter__(self) -> Iterator[str]:
        installed = self._installed()
        for name, points in installed.items():
            if problem := self._problem_of_name(name):
                warnings.warn(f"{self._described(points)} is ignored: {problem}", stacklevel=2)
        usable = sorted(name for name in installed if not self._problem_of_name(name))
        return iter(dict.fromkeys([*self._own, *self._classes, *usable]))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @property
    def own(self) -> tuple[str, ...]:
        """The names of dbpt's own classes, for which no class is imported and no package is asked."""
        return tuple(self._own)

    @property
    def added(self) -> dict[str, type[T]]:
        """The classes found until now that are not dbpt's own."""
        return {name: kind for name, kind in self._classes.items() if name not in self._own}

    @property
    def loaded(self) -> dict[str, type[T]]:
        """dbpt's own classes and those in `added`; no entry point is imported."""
        return {name: self[name] for name in self._own} | self.added

    def code_of(self, name: str) -> str:
        """Return a digest of the source of a class as it is now, without comments; "" for dbpt's own.

        It is that of the modules that define the class and its bases; in a notebook, that of their methods.
        """
        if name in self._own:
            return ""
        modules = dict.fromkeys(kind.__module__ for kind in self[name].__mro__)
        of_users = [module for module in modules if module.partition(".")[0] not in LIBRARIES]
        sources = [tree for module in of_users for tree in _syntax_trees(module, self[name])]
        return hashlib.sha256(repr(sources).encode()).hexdigest()

    def check(self, flag: str, name: str) -> None:
        """Refuse an unknown ``name``, and an entry point that cannot be used; dbpt's own classes are not imported."""
        if name in self._own:
            return
        if name not in self:
            hint = nearest(name, list(self)) or "; if a module registers it, import that first, or set DBPT_PLUGINS"
            raise InputError(f"{flag}: {name!r} is none of {', '.join(self)}{hint}")
        self[name]

    def register(self, name: str) -> Callable[[C], C]:
        """Return a decorator that registers a class, which can then be chosen by name wherever dbpt's own can.

        A class that is defined again replaces itself.

        Args:
            name: lower-case letters and digits, with hyphens.

        Returns:
            The decorator, which returns the class.

        Raises:
            InputError: for a name that is taken, and for a class of another kind or without a required part.
        """
        if problem := self._problem_of_name(name):
            raise InputError(f"register {self.setting} {name!r}: {problem}")

        def add(kind: C) -> C:
            if problem := self._problem_of_class(name, kind):
                raise InputError(f"register {self.setting} {name!r}: {problem}")
            self._classes[name] = _named(kind, name)  # type: ignore[assignment]
            return kind

        return add

    def _load_installed(self, name: str) -> type[T]:
        points = self._installed()[name]
        described = self._described(points)
        if len({point.value for point in points}) > 1:
            raise InputError(f"{described} have the same name; uninstall all but one")
        with foreign_errors(f"{described} cannot be imported", "fix or uninstall the package"):
            kind = points[0].load()
        if problem := self._problem_of_class(name, kind):
            raise InputError(f"{described} cannot be used: {problem}; fix or uninstall the package")
        return kind  # type: ignore[no-any-return]

    def _installed(self) -> dict[str, list[EntryPoint]]:
        """Return the entry points of each name, once the modules in ``$DBPT_PLUGINS`` are imported."""
        import_plugins()
        points: dict[str, list[EntryPoint]] = {}
        for point in entry_points(group=self.group):
            points.setdefault(point.name, []).append(point)
        return points

    def _described(self, points: list[EntryPoint]) -> str:
        """Return the entry points and their distributions, for a message."""
        values = ", ".join(f"{point.value} of {point.dist and point.dist.name}" for point in points)
        return f"{self.setting} {points[0].name!r} (entry point {values})"

    def _problem_of_name(self, name: Any) -> str | None:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            return "expected a name of lower-case letters and digits, with hyphens between"
        return f"the name {name!r} is dbpt's own; choose another" if name in (*self._own, *self._reserved) else None

    def _problem_of_class(self, name: str, kind: Any) -> str | None:
        base = self._base.load()
        if not isinstance(kind, type) or not issubclass(kind, base):
            return f"{kind!r} is not a subclass of {_qualified(base)}"
        for part in {**base.__annotations__, **vars(base)}:
            method, of_base = getattr(kind, part, None), vars(base).get(part)
            if not hasattr(kind, part) or getattr(method, "__isabstractmethod__", False):
                return f"{_qualified(kind)} has no {part}; define it"
            is_replaced = isinstance(of_base, FunctionType) and method is not of_base and part != "__init__"
            if is_replaced and (problem := problem_of_call(method, inspect.signature(of_base).parameters)):
                return problem
        if vars(kind).get("name", name) != name:
            return f"{_qualified(kind)} is called {vars(kind)['name']!r} already"
        if (other := self._classes.get(name)) is not None and _qualified(other) != _qualified(kind):
            return f"{_qualified(other)} has this name already; choose another"
        own = {part for each in kind.__mro__ if each not in base.__mro__ for part in vars(each)}
        parts = [part for part in dir(base) if part == "__init__" or (not part.startswith("_") and part not in UNREAD)]
        if own.isdisjoint(parts):
            meant = next(filter(None, (nearest(part, parts) for part in own - UNREAD if not part.startswith("_"))), "")
            return f"{_qualified(kind)} changes nothing of {_qualified(base)}{meant}"
        return None


def problem_of_call(method: Any, called_with: Iterable[str]) -> str | None:
    """Return why a method of the user's can't be called with these arguments, if it can't."""
    try:
        takes = inspect.signature(method)
    except (TypeError, ValueError):  # of code that is not Python's
        return None
    try:
        takes.bind(*called_with)
    except TypeError:
        name = getattr(method, "__qualname__", repr(method))
        return f"{name} takes {takes}; it is called with ({', '.join(called_with)})"
    return None


def line_of_users(error: BaseException) -> str:
    """Return the file and line of the user's code that led to ``error``; of any code if it is none of the user's."""
    frames = [*walk_tb(error.__traceback__)]
    of_users = [each for each in frames if each[0].f_globals["__name__"].partition(".")[0] not in LIBRARIES]
    frame, line = (of_users or frames)[-1]
    return f"{frame.f_code.co_filename}, line {line}"


def _syntax_trees(module: str, kind: type) -> Iterator[str]:
    """Yield the syntax tree of a module; without a file, those of the methods that ``kind`` has from it."""
    methods = [
        part for _, part in inspect.getmembers(kind, inspect.isroutine) if getattr(part, "__module__", "") == module
    ]
    has_file = hasattr(sys.modules.get(module), "__file__")
    for part in [sys.modules[module]] if has_file else methods:
        with suppress(OSError, TypeError, SyntaxError):  # it has no source, or is a part of a line
            yield ast.dump(ast.parse(dedent(inspect.getsource(part))))


def import_plugins() -> None:
    """Import the modules in ``$DBPT_PLUGINS``, which may register classes. Raises `InputError` if one fails."""
    for module in filter(None, os.environ.get("DBPT_PLUGINS", "").split(",")):
        hint = "name a module, without .py, whose folder is in PYTHONPATH"
        with foreign_errors(f"DBPT_PLUGINS: {module.strip()} cannot be imported", hint):
            import_module(module.strip())


def _named(kind: C, name: str) -> C:
    kind.name = name
    if "title" not in vars(kind):
        kind.title = name
    return kind


def _qualified(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
