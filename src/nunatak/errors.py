"""The errors that a user can mend: each says what was given, what was expected and what to do."""

from __future__ import annotations

from typing import Any


class NunatakError(Exception):
    """Anything that the person at the keyboard can put right.

    Parameters
    ----------
    what
        What was given or found, with the file, key, product or block that it concerns.
    expected
        What was expected instead.
    do
        What to do about it.
    """

    def __init__(self, what: str, expected: str = "", do: str = "") -> None:
        self.what, self.expected, self.do = what, expected, do
        lines = [what]
        lines += [f"  expected: {expected}"] if expected else []
        lines += [f"  do: {do}"] if do else []
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[Any, ...]:
        """An error of a worker is the same one here."""
        return type(self), (self.what, self.expected, self.do)


class ConfigError(NunatakError):
    """A configuration file says something that cannot be."""


class SourceError(NunatakError):
    """A source cannot be had, is damaged, or is not what the catalogue says."""


class DataError(NunatakError):
    """Data do not fit the grid, the units, the datum or the shape that a stage needs."""


class DivergedError(DataError):
    """A training whose losses are no longer finite."""


class StoreError(NunatakError):
    """A product on disk is missing, misaligned or disagrees with its manifest."""
