"""A progress bar for notebooks and terminals."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self


class OutputBar:
    """A tqdm bar on standard output, as notebooks show standard error like a failure.

    To be used in a ``with`` statement.

    Parameters
    ----------
    unit
        What is counted, such as ``"file"``.
    every
        Least seconds between two updates.
    """

    def __init__(self, unit: str, every: float = 1.0) -> None:
        from tqdm import tqdm

        self._bar = tqdm(unit=unit, file=sys.stdout, mininterval=every)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def show(self, done: int, total: int | None) -> None:
        """Show that ``done`` of ``total`` are done; at the end at once, before that as often as asked for."""
        self._bar.total = total
        self._bar.update(done - self._bar.n)
        if done == total:
            self._bar.refresh()

    def say(self, sentence: str) -> None:
        """Print a sentence on a line of its own."""
        self._bar.write(sentence, file=self._bar.fp)
