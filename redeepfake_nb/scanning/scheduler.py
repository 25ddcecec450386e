"""Many files -> a journal: what is new is looked at, what is known is kept, what stopped goes on.

The journal is written by this process alone, one transaction for the files that one job brings. So whatever
ends it, at most the files in flight are lost, and the next call finds them waiting.
"""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import tempfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..analysis.aggregation import DEFAULT
from ..errors import RedeepfakeError, WorkerLost, displayable
from ..faces.detection import Detector, get_detector
from ..models.card import Card
from ..models.classifier import Classifier
from ..models.loading import default_classifier, load_model, model_path, read_card, save_model
from ..utils.jobs import Progress, stopper
from ..utils.versions import package_versions
from .executors import DaskCluster, Foreign, Here, Machine, Site, is_dask, machine_size
from .file_scoring import FileScorer, Outcome, ScanSettings
from .inputs import Fingerprint, Inputs, Known, list_files
from .journal import Entry, Journal, ScanRecord
from .result import ScanResult
from .worker_pool import Job

if TYPE_CHECKING:
    from distributed import Client


TIME_LIMIT = 1800.0
# Files per look and pictures per job, at most; and the bytes that one job's pictures have together.
_LOOK, _JOB, _JOB_BYTES = 64, 16, 64 * 2**20
# A look that takes longer, in seconds, was at too many files.
_LOOK_SECONDS = 1.0
# Seconds between two looks at whether to stop.
_TICK = 0.2
# What a model's card says that does not change a score.
_NO_MATTER = {"metrics", "threshold", "licence", "training_data", "explain_layer", "architecture"}
_NO_MATTER |= {"unresponsive"}


def scan(
    paths: Inputs,
    journal: str | os.PathLike = "results.sqlite",
    classifier: Classifier | str | os.PathLike | None = None,
    *,
    executor: Executor | Client | None = None,
    workers: int | None = None,
    frames: int | Literal["all"] = 32,
    detector: str | Detector = "hog",
    margin: float | None = None,
    aggregation: str = DEFAULT,
    threshold: float | None = None,
    time_limit: float = TIME_LIMIT,
    retry_failed: bool = False,
    progress: Progress | None = None,
    cancel: threading.Event | Callable[[], bool] | None = None,
) -> ScanResult:
    """Score many pictures and videos and keep what came of each in a journal.

    A second call with the same journal goes on where the first one stopped, however it stopped. Files that
    changed are scored anew, and so is everything under another model or other settings; files with the same
    bytes are scored once. Files are read in processes of their own: one that crashes or hangs its process
    has failed, and the rest goes on.

    Parameters
    ----------
    paths
        A folder, a CSV file with a column ``path``, ``file`` or ``url``, a file, or several of these; also
        fsspec addresses such as ``s3://bucket/clip.mp4``. See :func:`redeepfake_nb.scanning.inputs.list_files`.
    journal
        The SQLite file; made if it is not there.
    classifier
        Or the path of a model. Default: the model that ships.
    executor
        Where to score, instead of processes of this machine: a ``distributed.Client``, or anything with
        the ``submit`` of :mod:`concurrent.futures`. Each of its workers starts a process that holds the
        model. It stays open.
    workers
        Processes on this machine; default: as many as there are cores and memory for. 0: none, everything
        in this very process, where nothing protects it from files that crash.
    frames, aggregation
        Of videos; see :func:`redeepfake_nb.analyze_video`.
    detector, margin
        See :func:`redeepfake_nb.find_faces`. A detector of your own must be importable by other processes.
    threshold
        Cut on P(fake). Default: the model's.
    time_limit
        Seconds for one file (not with ``workers=0``).
    retry_failed
        Try files again that failed before. Files that could not be opened are tried again in any case.
    progress
        Called as ``progress(done, total)`` in the calling thread.
    cancel
        An event, or a callable that says whether to stop. What was done is in the journal.

    Returns
    -------
    ScanResult
        Over the files of this call, those of earlier runs included.

    Raises
    ------
    JournalError
        The journal cannot be used: it is something else, newer, damaged, or another scan writes to it.
    ModelError
        The model cannot be used.
    InputError
        There is nothing to scan.
    RedeepfakeError
        Processes cannot be started, or the executor broke.
    ValueError
        An option out of range.
    """
    if executor is not None and workers is not None:
        raise ValueError("give workers or an executor, not both")
    if workers is not None and (isinstance(workers, bool) or workers < 0):
        raise ValueError(f"workers is a number of processes, not {workers!r}")
    if not time_limit > 0:
        raise ValueError(f"time_limit must be seconds above 0, not {time_limit!r}")
    card = classifier.card if isinstance(classifier, Classifier) else read_card(classifier)
    settings = ScanSettings(
        frames, detector, margin, aggregation, card.threshold if threshold is None else threshold
    )
    if isinstance(detector, str):
        get_detector(detector)
    packed = b"" if workers == 0 else _packed(settings)
    files = list_files(paths)
    began = time.perf_counter()
    with (
        Journal(journal, create=True) as book,
        book.scanning(),
        _model_file(classifier, needed=workers != 0) as (path, digest),
    ):
        identity = _identity(classifier, card)
        record = book.begin(
            files, settings.digest(identity), settings.to_dict(), identity, package_versions()
        )
        if retry_failed:
            book.reset_failed(record)
        entries = book.entries(record)
        name = uuid.uuid4().hex
        threads = machine_size()[1]
        site = _site(name, executor, workers, classifier, settings, path, digest)
        job = Job(name, path, digest, packed, (), time_limit, threads)
        work = _Work(book, record, site, job, entries, copy_failed=not retry_failed)
        try:
            finished = work.run(progress, stopper(cancel))
        except BaseException:
            # The journal must not wait for processes to end, which a second Ctrl-C may cut short.
            book.end(record, "stopped")
            raise
        finally:
            site.close()
        book.end(record, "finished" if finished else "stopped")
        return ScanResult(
            book.path, book.scan(record.id), cancelled=not finished, seconds=time.perf_counter() - began
        )


def _packed(settings: ScanSettings) -> bytes:
    try:
        return pickle.dumps(settings)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            "other processes cannot import this detector; define it at the top of a module, or use workers=0"
        ) from error


def _site(
    name: str,
    executor: Any,
    workers: int | None,
    classifier: Any,
    settings: ScanSettings,
    model: str | None,
    digest: str,
) -> Site:
    if executor is not None:
        if is_dask(executor):
            return DaskCluster(name, executor, model, digest)
        return Foreign(name, executor)
    if workers == 0:
        if classifier is None:
            classifier = default_classifier()
        elif not isinstance(classifier, Classifier):
            classifier = load_model(classifier)
        return Here(FileScorer(classifier, settings))
    return Machine(name, machine_size()[0] if workers is None else workers)


@contextlib.contextmanager
def _model_file(classifier: Any, needed: bool) -> Iterator[tuple[str | None, str]]:
    """Path and SHA-256 of a file that holds the model; a classifier in memory is written for the while."""
    if not isinstance(classifier, Classifier):
        path = None if classifier is None else os.path.abspath(model_path(classifier))
        yield path, read_card(path).sha256
    elif not needed:
        yield None, ""
    else:
        with tempfile.TemporaryDirectory(prefix="redeepfake-model-") as folder:
            path = save_model(classifier, Path(folder) / "model.keras")
            yield str(path), read_card(path).sha256


def _identity(classifier: Any, card: Card) -> dict[str, Any]:
    """What decides the model's scores, as plain JSON."""
    found = {key: value for key, value in card.to_dict().items() if key not in _NO_MATTER}
    if found["sha256"] is None:
        # Never on disk: its weights are all that identifies it.
        digest = sha256()
        for weight in classifier.keras_model.weights:
            array = np.ascontiguousarray(weight)
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(array.tobytes())
        found["sha256"] = digest.hexdigest()
    return found


@dataclass
class _File:
    """A file to be scored, and the rows of the journal that its outcome goes into, its own first."""

    path: str
    sha256: str
    size: int
    rows: list[tuple[Entry, str | None]]


class _Work:
    """One run of a scan."""

    def __init__(
        self,
        journal: Journal,
        record: ScanRecord,
        site: Site,
        job: Job,
        entries: Sequence[Entry],
        copy_failed: bool,
    ) -> None:
        self._copy_failed = copy_failed
        self._journal, self._record, self._site, self._job = journal, record, site, job
        self._total, self._done = len(entries), 0
        self._unseen = deque(entries)
        self._looks: deque[tuple[list[Entry], float, Future]] = deque()
        self._look_size = 1
        self._pictures: list[_File] = []
        self._queue: deque[list[_File]] = deque()
        self._alone: deque[_File] = deque()
        self._flying: dict[Future, tuple[list[_File], bool]] = {}
        # Bytes that are being scored, or will be.
        self._files: dict[str, _File] = {}
        # Small jobs for a small scan, so that everybody gets some. Where all is known, all may have changed.
        waiting = sum(entry.status == "waiting" for entry in entries) or len(entries)
        self._job_size = min(_JOB, math.ceil(waiting / (4 * site.capacity)))

    def run(self, progress: Progress | None, stop: Callable[[], bool]) -> bool:
        """Go on until all is done or somebody stops it; whether all is done."""
        told = -1
        while not stop():
            self._look()
            self._launch()
            under_way = [*self._flying, *(future for *_, future in self._looks)]
            if not under_way:
                return True
            wait(under_way, timeout=_TICK, return_when=FIRST_COMPLETED)
            self._take_looks()
            self._take_outcomes()
            if progress is not None and self._done > told:
                told = self._done
                progress(self._done, self._total)
        return False

    # -- which files have to be scored

    def _look(self) -> None:
        """Keep a few looks under way, as long as not too much waits behind them."""
        while self._unseen and len(self._looks) < 2 and len(self._queue) <= 2 * self._site.capacity:
            some = [self._unseen.popleft() for _ in range(min(self._look_size, len(self._unseen)))]
            look = self._site.look([Known(e.path, e.sha256, e.stamp) for e in some])
            self._looks.append((some, time.monotonic(), look))

    def _take_looks(self) -> None:
        # In the order listed, so that of equal files always the same one counts as the first.
        while self._looks and self._looks[0][2].done():
            entries, since, future = self._looks.popleft()
            try:
                fingerprints = future.result()
            except Exception as error:
                raise _gone(error) from error
            # Many small files at a time, but nobody is to wait until many large ones are read.
            quick = time.monotonic() - since < _LOOK_SECONDS
            self._look_size = min(2 * self._look_size, _LOOK) if quick else max(1, self._look_size // 2)
            with self._journal.transaction():
                for entry, fingerprint in zip(entries, fingerprints, strict=True):
                    self._sort(entry, fingerprint)
            if not self._unseen and not self._looks:
                self._close_pictures()

    def _sort(self, entry: Entry, seen: Fingerprint) -> None:
        """Decide about one file: known, a duplicate, or to be scored."""
        if seen.error is not None:
            self._journal.record(self._record, Outcome.failure(seen.error).to_dict(), [(entry.id, None)])
            self._done += 1
        elif entry.status != "waiting" and entry.sha256 == seen.sha256:
            if entry.stamp != seen.stamp:
                self._journal.stamp([(entry.id, seen.stamp)])
            self._done += 1
        elif seen.sha256 in self._files:
            self._files[seen.sha256].rows.append((entry, seen.stamp))
        elif self._journal.copy_known(
            self._record, entry.id, seen.sha256, seen.stamp, failed=self._copy_failed
        ):
            self._done += 1
        else:
            file = _File(entry.path, seen.sha256, seen.size_bytes or 0, [(entry, seen.stamp)])
            self._files[seen.sha256] = file
            if seen.video:
                self._queue.append([file])
                return
            self._pictures.append(file)
            if len(self._pictures) >= self._job_size or sum(f.size for f in self._pictures) > _JOB_BYTES:
                self._close_pictures()

    def _close_pictures(self) -> None:
        if self._pictures:
            self._queue.append(self._pictures)
            self._pictures = []

    # -- scoring them

    def _launch(self) -> None:
        """Keep everybody busy, and a little more, so that nobody waits for the next job."""
        while self._queue and len(self._flying) < 2 * self._site.capacity:
            self._submit(self._queue.popleft(), alone=False)
        if self._alone and not (self._flying or self._looks or self._unseen or self._queue):
            self._submit([self._alone.popleft()], alone=True)

    def _submit(self, files: list[_File], alone: bool) -> None:
        job = replace(self._job, paths=tuple(file.path for file in files), alone=alone)
        try:
            self._flying[self._site.score(job)] = files, alone
        except (BrokenExecutor, RuntimeError) as error:
            raise _gone(error) from error

    def _take_outcomes(self) -> None:
        for future in [future for future in self._flying if future.done()]:
            files, alone = self._flying.pop(future)
            try:
                found = future.result()
            except (RedeepfakeError, BrokenExecutor, CancelledError) as error:
                raise _gone(error) from error
            except Exception as error:
                # Whoever ran it was lost, more than once where a cluster tries again. Which file did it
                # shows when each is alone.
                if not alone:
                    self._alone.extend(files)
                    continue
                found = [(Outcome.failure(_lost(error)), False)]
            with self._journal.transaction():
                for file, (outcome, again) in zip(files, found, strict=True):
                    if again:
                        self._alone.append(file)
                    else:
                        self._record_one(file, outcome)

    def _record_one(self, file: _File, outcome: Outcome) -> None:
        self._files.pop(file.sha256, None)
        rows = file.rows
        if outcome.sha256 is None:
            outcome = replace(outcome, sha256=file.sha256)
        elif outcome.sha256 != file.sha256:
            # It changed after the look, so what came out is not about the others' bytes.
            (entry, _), *others = rows
            rows = [(entry, None)]
            if others:
                other = _File(others[0][0].path, file.sha256, file.size, others)
                self._files[file.sha256] = other
                self._queue.append([other])
        self._journal.record(self._record, outcome.to_dict(), [(entry.id, stamp) for entry, stamp in rows])
        self._done += len(rows)


def _gone(error: BaseException) -> RedeepfakeError:
    if isinstance(error, RedeepfakeError):
        return error
    return RedeepfakeError(
        f"the executor ended before the scan did ({displayable(error) or type(error).__name__})",
        next_step="Call scan() again with a new one; it goes on where this one stopped.",
    )


def _lost(error: BaseException) -> WorkerLost:
    words = displayable(error) or "no further word"
    return WorkerLost(
        f"the worker that had it was lost ({type(error).__name__}: {words})",
        next_step="Look at the workers' memory limit and logs; scan it again with retry_failed=True.",
    )
