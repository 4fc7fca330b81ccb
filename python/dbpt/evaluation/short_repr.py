"""`Brief`: results whose ``repr`` is what a failed test should show, one line with the figures."""

from abc import ABC, abstractmethod


class Brief(ABC):
    """A result whose ``repr`` is one short line. Dataclasses need ``repr=False``, or they show all of their fields."""

    @abstractmethod
    def _brief(self) -> str:
        """Return the figures that matter, the worst ones first: pytest cuts a long line in the middle."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._brief()})"


def in_percent(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """Return a fraction in per cent with its interval, if it has one.

    >>> in_percent(0.5, 0.25, 0.75), in_percent(None)
    ('50.0 % [25.0, 75.0]', 'unknown')
    """
    interval = "" if low is None or high is None else f" [{100 * low:.1f}, {100 * high:.1f}]"
    return "unknown" if value is None else f"{100 * value:.1f} %{interval}"


def in_points(value: float | None, interval: tuple[float, float] | None = None) -> str:
    """Return a difference of fractions in points with its sign and its interval, if it has one."""
    bounds = "" if interval is None else f" [{100 * interval[0]:+.1f}, {100 * interval[1]:+.1f}]"
    return "unknown" if value is None else f"{100 * value:+.1f} points{bounds}"
