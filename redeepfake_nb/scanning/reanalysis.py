"""Analyses single files of a scan again, for their faces and heatmaps, which the journal does not store.

A reviewer moves from file to file faster than videos are analysed, so only the latest request counts, and the
file that is likely to be requested next is analysed ahead.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..analysis.image import analyze_image
from ..analysis.report import Report
from ..analysis.video import analyze_video
from ..analysis.video_report import VideoReport
from ..faces.detection import Detector
from ..faces.face import detector_name
from ..media.file_types import is_video
from ..models.classifier import Classifier
from .records import FileResult
from .remote import local_copy

# Reports in the cache; each holds a decoded image of up to 36 MB or a few frames.
_CACHE_SIZE = 8


@dataclass(frozen=True)
class ReanalysisRequest:
    """A file to be analysed as it was scanned.

    Parameters
    ----------
    row
        The file's row of the scan.
    settings
        The scan's, see :attr:`redeepfake_nb.ScanResult.settings`.
    detector
        Its name, or the callable itself where it is a custom one.
    """

    row: FileResult
    settings: dict[str, Any]
    detector: str | Detector

    @property
    def key(self) -> tuple[str, str]:
        """Cache key: requests with equal keys have equal reports."""
        return self.row.sha256 or self.row.path, repr(sorted(self.settings.items()))


def custom_detector_of(settings: Mapping[str, Any], custom: Detector | None) -> Detector | None:
    """Return a custom detector if a scan with these settings was made with it, by its name; else None."""
    if custom is None:
        return None
    used = str(settings["detector"]).rpartition(".")[2]
    return custom if used == detector_name(custom).rpartition(".")[2] else None


def reanalyze(request: ReanalysisRequest, classifier: Classifier, cancel: Callable[[], bool]) -> Report:
    """Analyse a file as the scan did, with Grad-CAM heatmaps.

    Raises
    ------
    InputError
        The file can no longer be read.
    """
    row, s = request.row, request.settings
    path = os.fsdecode(row.raw) if row.raw is not None else row.path
    common: dict[str, Any] = {
        "detector": request.detector,
        "margin": s["margin"],
        "min_size": s.get("min_size"),
        "threshold": s["threshold"],
        "explain": "gradcam",
        **({"max_pixels": s["max_pixels"]} if "max_pixels" in s else {}),
    }
    with local_copy(path) as copy:
        if not is_video(copy):
            return analyze_image(copy, classifier, **common)
        return analyze_video(
            copy,
            classifier,
            frames=s["frames"],
            aggregation=s["aggregation"],
            stream=s.get("stream"),
            cancel=cancel,
            **common,
        )


def common_parent(paths: Iterable[str]) -> str:
    """Return the deepest folder that all paths share, with a trailing separator.

    Empty where there is no path, or where not all are absolute.
    """
    folders = {os.path.dirname(path) for path in paths}
    if not folders or not all(map(os.path.isabs, folders)):
        return ""
    return os.path.join(os.path.commonpath(folders), "")


class Reanalyzer:
    """Analyses one file at a time in a background thread, and caches the latest reports.

    Parameters
    ----------
    classifier
        Returns the classifier; called in the thread.
    finished
        Called in the thread with a request and its report or the exception raised, only while it is still the
        latest request.
    """

    def __init__(
        self,
        classifier: Callable[[], Classifier],
        finished: Callable[[ReanalysisRequest, Report | Exception], None],
    ) -> None:
        self._classifier, self._finished = classifier, finished
        self._reports: OrderedDict[tuple[str, str], Report] = OrderedDict()
        self._requested: ReanalysisRequest | None = None
        self._prefetch: ReanalysisRequest | None = None
        self._busy = False
        self._generation = 0
        self._changed = threading.Condition()

    def cached(self, request: ReanalysisRequest) -> Report | None:
        """Return the report of a request if it is in the cache."""
        return self._reports.get(request.key)

    def request(self, request: ReanalysisRequest, prefetch: ReanalysisRequest | None = None) -> None:
        """Analyse a file, then the one that is likely to be next; earlier requests are dropped."""
        with self._changed:
            self._requested, self._prefetch = request, prefetch
            if not self._busy:
                self._busy = True
                # A daemon, so that a kernel can be shut down at any time.
                threading.Thread(target=self._run, name="redeepfake-reanalysis", daemon=True).start()

    def clear(self) -> None:
        """Drop all requests and cached reports."""
        with self._changed:
            self._requested = self._prefetch = None
            self._generation += 1
            self._reports.clear()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most ``timeout`` seconds until no file is being analysed; return whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy, timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                request, prefetched = self._requested, False
                self._requested = None
                if request is None:
                    request, prefetched, self._prefetch = self._prefetch, True, None
                if request is None:
                    self._busy = False
                    self._changed.notify_all()
                    return
            report = self._report(request)
            if prefetched or report is None:
                continue
            with self._changed:
                superseded = self._requested is not None
            if not superseded:
                self._finished(request, report)

    def _report(self, request: ReanalysisRequest) -> Report | Exception | None:
        """Return the report or the exception raised; None if it was cancelled or the cache was cleared."""
        cached = self.cached(request)
        if cached is not None:
            return cached
        generation = self._generation
        try:
            report = reanalyze(request, self._classifier(), lambda: self._requested is not None)
        except Exception as error:
            return error
        if isinstance(report, VideoReport) and report.cancelled:
            return None
        with self._changed:
            if generation != self._generation:
                return None
            self._reports[request.key] = report
            while len(self._reports) > _CACHE_SIZE:
                self._reports.popitem(last=False)
        return report
