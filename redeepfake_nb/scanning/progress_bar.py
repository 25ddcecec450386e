"""A progress bar for scans and the reports on them."""

from __future__ import annotations

from ..utils.progress_bar import OutputBar


class ProgressBar(OutputBar):
    """A tqdm bar of files, for ``progress`` of :func:`redeepfake_nb.scan` and of its report page.

    To be used in a ``with`` statement. It writes to standard output, as notebooks show standard error like a
    failure.

    Parameters
    ----------
    every
        Least seconds between two updates.
    """

    def __init__(self, every: float = 1.0) -> None:
        super().__init__("file", every)

    def __call__(self, done: int, total: int | None) -> None:
        """Show that ``done`` of ``total`` files are done."""
        self.show(done, total)
