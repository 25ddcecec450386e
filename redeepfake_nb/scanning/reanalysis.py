"""Single files of a scan looked at again, for their faces and heatmaps: the journal keeps no pictures.

A person goes from file to file faster than videos are analysed, so only the last wish counts, and the file
that is likely to come next is looked at ahead.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..analysis.image import ImageReport, analyze_image
from ..analysis.video import analyze_video
from ..analysis.video_report import VideoReport
from ..faces.detection import Detector
from ..media.file_types import is_video
from ..models.classifier import Classifier
from .inputs import local_copy
from .records import FileResult

# Reports kept; each holds a decoded picture of up to 36 MB or a few frames.
_KEPT = 8


@dataclass(frozen=True)
class Wish:
    """A file to be looked at, as it was scanned.

    Parameters
    ----------
    row
        Of the scan.
    settings
        The scan's, see :attr:`redeepfake_nb.ScanResult.settings`.
    detector
        Its name, or the very detector where it is one of the person's own.
    """

    row: FileResult
    settings: dict[str, Any]
    detector: str | Detector

    @property
    def key(self) -> tuple:
        """Equal keys, equal reports."""
        return self.row.sha256 or self.row.path, repr(sorted(self.settings.items()))


def look_at(wish: Wish, classifier: Classifier, cancel: Callable[[], bool]) -> ImageReport | VideoReport:
    """Analyse a file as the scan did, with heatmaps.

    Raises
    ------
    InputError
        It cannot be read any more.
    """
    row, s = wish.row, wish.settings
    path = os.fsdecode(row.raw) if row.raw is not None else row.path
    common: dict[str, Any] = {
        "detector": wish.detector,
        "margin": s["margin"],
        "threshold": s["threshold"],
        "explain": "gradcam",
    }
    with local_copy(path) as copy:
        if not is_video(copy):
            return analyze_image(copy, classifier, **common)
        return analyze_video(
            copy, classifier, frames=s["frames"], aggregation=s["aggregation"], cancel=cancel, **common
        )


def common_folder(paths: Iterable[str]) -> str:
    """What absolute paths have in common, with the slash at its end; empty where there is nothing."""
    folders = {os.path.dirname(path) for path in paths}
    return (
        os.path.join(os.path.commonpath(folders), "") if folders and all(map(os.path.isabs, folders)) else ""
    )


class Looker:
    """Looks at one file at a time in a thread of its own.

    Parameters
    ----------
    classifier
        Gives the classifier; called in the thread.
    found
        Called in the thread with a wish and its report or what was raised, only if it is still the last one.
    """

    def __init__(
        self,
        classifier: Callable[[], Classifier],
        found: Callable[[Wish, ImageReport | VideoReport | Exception], None],
    ) -> None:
        self._classifier, self._found = classifier, found
        self._reports: OrderedDict[tuple, ImageReport | VideoReport] = OrderedDict()
        self._wish: Wish | None = None
        self._ahead: Wish | None = None
        self._busy = False
        self._generation = 0
        self._change = threading.Condition()

    def known(self, wish: Wish) -> ImageReport | VideoReport | None:
        """The report, if it is at hand."""
        return self._reports.get(wish.key)

    def ask(self, wish: Wish, ahead: Wish | None = None) -> None:
        """Look at a file, then at the one that is likely to be next; earlier wishes are given up."""
        with self._change:
            self._wish, self._ahead = wish, ahead
            if not self._busy:
                self._busy = True
                # A daemon, so that a kernel can be shut down at any time.
                threading.Thread(target=self._work, name="redeepfake-look", daemon=True).start()

    def forget(self) -> None:
        """Give up all wishes and forget the reports."""
        with self._change:
            self._wish = self._ahead = None
            self._generation += 1
            self._reports.clear()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is looked at, at most ``timeout`` seconds; whether that is so."""
        with self._change:
            return self._change.wait_for(lambda: not self._busy, timeout)

    def _work(self) -> None:
        while True:
            with self._change:
                wish, asked = self._wish, True
                self._wish = None
                if wish is None:
                    wish, asked, self._ahead = self._ahead, False, None
                if wish is None:
                    self._busy = False
                    self._change.notify_all()
                    return
            report = self._look(wish)
            if asked and report is not None:
                with self._change:
                    overtaken = self._wish is not None
                if not overtaken:
                    self._found(wish, report)

    def _look(self, wish: Wish) -> ImageReport | VideoReport | Exception | None:
        if (report := self._reports.get(wish.key)) is not None:
            return report
        generation = self._generation
        try:
            report = look_at(wish, self._classifier(), lambda: self._wish is not None)
        except Exception as error:
            return error
        if isinstance(report, VideoReport) and report.cancelled:
            return None
        with self._change:
            if generation != self._generation:
                return None
            self._reports[wish.key] = report
            while len(self._reports) > _KEPT:
                self._reports.popitem(last=False)
        return report
