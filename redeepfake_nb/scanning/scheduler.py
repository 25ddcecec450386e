"""Schedules a scan: scores files that are new or changed, and stores every outcome in the journal.

The journal is written by this process alone, in transactions that hold whole jobs. So however the
process ends, only the files in progress are lost, and the next call scores them.
"""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import tempfile
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
from ..analysis.options import AnalysisOptions
from ..errors import RedeepfakeError, WorkerLost, displayable
from ..faces.detection import DEFAULT_DETECTOR, Detector, get_detector, is_built_in
from ..models.card import Card
from ..models.classifier import Classifier
from ..models.loading import default_classifier, load_model, model_path, read_card, save_model, sha256_of
from ..models.runtimes import Runtime, chosen_runtime
from ..utils.jobs import Cancel, Progress, as_cancel_check
from ..utils.versions import package_versions
from .executors import (
    DaskCluster,
    ExecutorBackend,
    FuturesExecutor,
    InProcess,
    LocalProcesses,
    is_dask_client,
    local_capacity,
)
from .file_scoring import FileScorer, Outcome, ScanSettings
from .fingerprints import Fingerprint, KnownFile
from .journal import FileEntry, Journal, ScanRecord
from .listing import Inputs, list_files
from .result import ScanResult
from .worker_pool import Job, JobResult

if TYPE_CHECKING:
    from distributed import Client

# Seconds for one file.
TIME_LIMIT = 1800.0
# At most so many files in a fingerprint batch and images in a job, and bytes in the images of a job.
_MAX_BATCH_FILES, _MAX_JOB_IMAGES, _MAX_JOB_BYTES = 64, 16, 64 * 2**20
# A fingerprint batch that takes more seconds than this has too many files.
_MAX_BATCH_SECONDS = 1.0
# Seconds between two checks for cancellation.
_POLL_INTERVAL = 0.2
# Fields of a model's card that do not change a score. Where one changes, known files keep what was stored of
# it, such as the kinds of fakes that the model had not been tested on by then.
_SCORE_NEUTRAL_FIELDS = {"metrics", "threshold", "licence", "training_data", "explain_layer", "architecture"}
_SCORE_NEUTRAL_FIELDS |= {"unresponsive", "tested_on"}


def scan(
    paths: Inputs,
    journal: str | os.PathLike = "results.sqlite",
    classifier: Classifier | str | os.PathLike | None = None,
    *,
    executor: Executor | Client | None = None,
    workers: int | None = None,
    frames: int | Literal["all"] = 32,
    detector: str | Detector = DEFAULT_DETECTOR,
    margin: float | None = None,
    min_size: int | None = None,
    aggregation: str = DEFAULT,
    threshold: float | None = None,
    max_pixels: int | None = None,
    stream: int | None = None,
    time_limit: float = TIME_LIMIT,
    retry_failed: bool = False,
    runtime: Runtime | None = None,
    progress: Progress | None = None,
    cancel: Cancel = None,
) -> ScanResult:
    """Score many images and videos, and store the outcome of each in a journal.

    A second call with the same journal resumes where the first one stopped, however it stopped. Files that
    changed are scored again, and so is everything under another model or other settings; files with the same
    bytes are scored once. Files are decoded in worker processes: a file that crashes or hangs its process
    fails, and the scan continues.

    Parameters
    ----------
    paths
        A folder, a CSV file with a column ``path``, ``file`` or ``url``, a file, or several of these; also
        fsspec addresses such as ``s3://bucket/clip.mp4``. See
        :func:`redeepfake_nb.scanning.listing.list_files`.
    journal
        The SQLite file; created if it does not exist.
    classifier
        A classifier, or the path of a model. Default: the model that ships with the package.
    executor
        Where to score instead of local worker processes: a ``distributed.Client``, or anything with the
        ``submit`` of :mod:`concurrent.futures`. Each of its workers starts a process that holds the model.
        It stays open.
    workers
        Worker processes on this machine; default: as many as there are cores and memory for. 0: none;
        everything runs in this process, unprotected from files that crash it.
    frames, aggregation
        Of videos; see :func:`redeepfake_nb.analyze_video`.
    detector, margin, min_size
        See :func:`redeepfake_nb.find_faces`. A custom detector must be importable by other processes.
    threshold
        Decision threshold on P(fake). Default: the model's.
    max_pixels
        Most pixels of an image, and of a video's frame. Default: those of :func:`redeepfake_nb.read_image`
        and ``open_video``.
    stream
        Which video stream of files with several, see :func:`redeepfake_nb.analyze_video`; files without such
        a stream fail.
    time_limit
        Seconds for one file (not with ``workers=0``).
    retry_failed
        Score files again that failed before. Files that could not be opened are retried in any case.
    runtime
        What computes scores in other processes; see :func:`redeepfake_nb.load_model`.
    progress
        Called as ``progress(done, total)`` in the calling thread.
    cancel
        An event, or a function that returns whether to stop. What was scored is in the journal.

    Returns
    -------
    ScanResult
        All files of this call, including those scored in earlier runs.

    Raises
    ------
    JournalError
        The journal cannot be used: it is something else, newer, damaged, or another scan is writing to it.
    ModelError
        The model cannot be used.
    InputError
        There is nothing to scan.
    RedeepfakeError
        Processes cannot be started, or the executor broke.
    ValueError
        An option is out of range.
    """
    options = AnalysisOptions(detector, margin, min_size, threshold)
    runtime = chosen_runtime(runtime)
    if executor is not None and workers is not None:
        raise ValueError("give workers or an executor, not both")
    if workers is not None and (isinstance(workers, bool) or workers < 0):
        raise ValueError(f"workers must be a number of processes, not {workers!r}")
    if not time_limit > 0:
        raise ValueError(f"time_limit must be a number of seconds above 0, not {time_limit!r}")
    if not (classifier is None or isinstance(classifier, (Classifier, str))):
        classifier = Path(classifier)
    card = classifier.card if isinstance(classifier, Classifier) else read_card(classifier)
    known: Any = detector
    if isinstance(detector, str) and not is_built_in(detector):
        known = get_detector(detector)  # other processes do not know the names registered in this one
    settings = ScanSettings(
        frames,
        known,
        margin,
        aggregation,
        options.threshold_for(card),
        min_size=min_size,
        max_pixels=max_pixels,
        stream=stream,
    )
    pickled = b"" if workers == 0 else _pickle(settings)
    files = list_files(paths)
    start = time.perf_counter()
    with (
        Journal(journal, create=True) as opened,
        opened.scan_lock(),
        _model_file(classifier, needed=workers != 0) as (path, digest),
    ):
        identity = _model_identity(classifier, card)
        record = opened.start_scan(
            files, settings.digest(identity), settings.to_dict(), identity, package_versions()
        )
        if retry_failed:
            opened.reset_failed(record)
        entries = opened.entries(record)
        name = uuid.uuid4().hex
        capacity, threads = local_capacity(runtime)
        workers = capacity if workers is None else workers
        with contextlib.ExitStack() as stack:
            try:
                backend = _create_backend(
                    name, executor, workers, classifier, settings, path, digest, runtime
                )
                stack.callback(backend.close)
                job = Job(name, path, digest, pickled, (), time_limit, threads, runtime=runtime)
                run = ScanRun(opened, record, backend, job, entries, copy_failed=not retry_failed)
                finished = run.run(progress, as_cancel_check(cancel))
            except BaseException:
                # Before waiting for processes to end, which a second Ctrl-C may interrupt.
                opened.end_scan(record, "stopped")
                raise
        opened.end_scan(record, "finished" if finished else "stopped")
        return ScanResult(
            opened.path,
            opened.scan(record.id),
            cancelled=not finished,
            seconds=time.perf_counter() - start,
        )


def _pickle(settings: ScanSettings) -> bytes:
    try:
        return pickle.dumps(settings)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            "other processes cannot import this detector; define it at the top of a module, or use workers=0"
        ) from error


def _create_backend(
    name: str,
    executor: Executor | Client | None,
    workers: int,
    classifier: Classifier | str | Path | None,
    settings: ScanSettings,
    model: str | None,
    digest: str,
    runtime: Runtime,
) -> ExecutorBackend:
    if executor is not None:
        if is_dask_client(executor):
            return DaskCluster(name, executor, model, digest)
        return FuturesExecutor(name, executor)
    if workers == 0:
        if classifier is None:
            classifier = load_model(runtime=runtime) if runtime != "auto" else default_classifier()
        elif not isinstance(classifier, Classifier):
            classifier = load_model(classifier, runtime=runtime)
        return InProcess(FileScorer(classifier, settings))
    return LocalProcesses(name, workers)


@contextlib.contextmanager
def _model_file(classifier: Classifier | str | Path | None, needed: bool) -> Iterator[tuple[str | None, str]]:
    """Give path and SHA-256 of the model's file; a classifier in memory is saved to a temporary one.

    The path is ``None`` for the default model, which every machine has, and where no file is needed.
    """
    if not isinstance(classifier, Classifier):
        file = os.path.abspath(model_path(classifier))
        yield None if classifier is None else file, sha256_of(file)
    elif not needed:
        yield None, ""
    else:
        with tempfile.TemporaryDirectory(prefix="redeepfake-model-") as folder:
            saved = save_model(classifier, Path(folder) / "model.keras")
            yield str(saved), sha256_of(saved)


def _model_identity(classifier: Classifier | str | Path | None, card: Card) -> dict[str, Any]:
    """Return what determines the model's scores, as plain JSON."""
    identity = {key: value for key, value in card.to_dict().items() if key not in _SCORE_NEUTRAL_FIELDS}
    if identity["sha256"] is None and isinstance(classifier, Classifier):
        # The model was never saved: only its weights identify it.
        digest = sha256()
        for weight in classifier.keras_model.weights:
            array = np.ascontiguousarray(weight)
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(array.tobytes())
        identity["sha256"] = digest.hexdigest()
    return identity


@dataclass
class _Content:
    """A file to be scored, with the rows (entry, stamp) of all files with these bytes, its own row first."""

    path: str
    sha256: str
    size: int
    rows: list[tuple[FileEntry, str | None]]


class ScanRun:
    """One run of a scan: fingerprints files in batches, submits jobs, and records their outcomes."""

    def __init__(
        self,
        journal: Journal,
        record: ScanRecord,
        backend: ExecutorBackend,
        job: Job,
        entries: Sequence[FileEntry],
        copy_failed: bool,
    ) -> None:
        self._copy_failed = copy_failed
        self._journal, self._record, self._backend, self._job = journal, record, backend, job
        self._total, self._done = len(entries), 0
        # Files pass through these in turn: not fingerprinted yet, being fingerprinted, collected for a job of
        # images, waiting as a job, being scored; or waiting to be retried when nothing else runs.
        self._remaining = deque(entries)
        self._fingerprinting: deque[tuple[list[FileEntry], float, Future[list[Fingerprint]]]] = deque()
        self._images: list[_Content] = []
        self._queue: deque[list[_Content]] = deque()
        self._in_flight: dict[Future[JobResult], tuple[list[_Content], bool]] = {}
        self._isolated: deque[_Content] = deque()
        # By SHA-256: contents that wait or are being scored.
        self._contents: dict[str, _Content] = {}
        self._batch_size = 1
        # A small scan has small jobs, so that all workers get some. If every file is known, all may have
        # changed.
        waiting = sum(entry.status == "waiting" for entry in entries) or len(entries)
        self._job_size = min(_MAX_JOB_IMAGES, math.ceil(waiting / (4 * backend.capacity)))

    def run(self, progress: Progress | None, cancelled: Callable[[], bool]) -> bool:
        """Run until all files are done or the scan is cancelled, and return whether all are done."""
        reported = -1
        while not cancelled():
            self._submit_fingerprints()
            self._submit_jobs()
            futures: list[Future] = [*self._in_flight, *(future for *_, future in self._fingerprinting)]
            if not futures:
                return True
            wait(futures, timeout=_POLL_INTERVAL, return_when=FIRST_COMPLETED)
            self._collect_fingerprints()
            self._collect_outcomes()
            if progress is not None and self._done > reported:
                reported = self._done
                progress(self._done, self._total)
        return False

    # -- which files have to be scored

    def _submit_fingerprints(self) -> None:
        """Keep two batches in progress, unless enough jobs are waiting already."""
        while (
            self._remaining
            and len(self._fingerprinting) < 2
            and len(self._queue) <= 2 * self._backend.capacity
        ):
            count = min(self._batch_size, len(self._remaining))
            batch = [self._remaining.popleft() for _ in range(count)]
            try:
                future = self._backend.fingerprint([KnownFile(e.path, e.sha256, e.stamp) for e in batch])
            except (BrokenExecutor, RuntimeError) as error:
                raise _executor_error(error) from error
            self._fingerprinting.append((batch, time.monotonic(), future))

    def _collect_fingerprints(self) -> None:
        # In the order listed, so that of duplicates always the same one counts as the original.
        while self._fingerprinting and self._fingerprinting[0][2].done():
            entries, since, future = self._fingerprinting.popleft()
            try:
                fingerprints = future.result()
            except Exception as error:
                raise _executor_error(error) from error
            # Batches of many small files, but no long wait until many large ones are read.
            quick = time.monotonic() - since < _MAX_BATCH_SECONDS
            self._batch_size = (
                min(2 * self._batch_size, _MAX_BATCH_FILES) if quick else max(1, self._batch_size // 2)
            )
            with self._journal.transaction():
                for entry, fingerprint in zip(entries, fingerprints, strict=True):
                    self._classify(entry, fingerprint)
            if not self._remaining and not self._fingerprinting:
                self._queue_images()

    def _classify(self, entry: FileEntry, fingerprint: Fingerprint) -> None:
        """Decide whether a file is unreadable, unchanged, a duplicate, or to be scored."""
        digest, stamp = fingerprint.sha256, fingerprint.stamp
        if digest is None:
            assert fingerprint.error is not None
            outcome = Outcome.from_error(fingerprint.error)
            self._journal.record_outcome(self._record, outcome.to_dict(), [(entry.id, None)])
            self._done += 1
        elif entry.status != "waiting" and entry.sha256 == digest:
            if entry.stamp != stamp:
                self._journal.update_stamps([(entry.id, stamp)])
            self._done += 1
        elif digest in self._contents:
            self._contents[digest].rows.append((entry, stamp))
        elif self._journal.copy_outcome(self._record, entry.id, digest, stamp, failed=self._copy_failed):
            self._done += 1
        else:
            content = _Content(entry.path, digest, fingerprint.size_bytes or 0, [(entry, stamp)])
            self._contents[digest] = content
            if fingerprint.video:
                self._queue.append([content])
                return
            self._images.append(content)
            size = sum(image.size for image in self._images)
            if len(self._images) >= self._job_size or size > _MAX_JOB_BYTES:
                self._queue_images()

    def _queue_images(self) -> None:
        if self._images:
            self._queue.append(self._images)
            self._images = []

    # -- scoring them

    def _submit_jobs(self) -> None:
        """Keep all workers busy, with one more job each, so that none waits for the next."""
        while self._queue and len(self._in_flight) < 2 * self._backend.capacity:
            self._submit(self._queue.popleft(), isolated=False)
        if self._isolated and not (self._in_flight or self._fingerprinting or self._remaining or self._queue):
            self._submit([self._isolated.popleft()], isolated=True)

    def _submit(self, contents: list[_Content], isolated: bool) -> None:
        job = replace(self._job, paths=tuple(content.path for content in contents), isolated=isolated)
        try:
            self._in_flight[self._backend.score(job)] = contents, isolated
        except (BrokenExecutor, RuntimeError) as error:
            raise _executor_error(error) from error

    def _collect_outcomes(self) -> None:
        done = [future for future in self._in_flight if future.done()]
        if not done:
            return
        broken: BaseException | None = None
        # One transaction for all, since each waits for the disk.
        with self._journal.transaction():
            for future in done:
                contents, isolated = self._in_flight.pop(future)
                try:
                    results = future.result()
                except (RedeepfakeError, BrokenExecutor, CancelledError) as error:
                    broken = broken or error  # what others have scored is kept all the same
                    continue
                except Exception as error:
                    # The executor's worker was lost, more than once on a cluster that retries tasks. Scoring
                    # the files one by one shows which of them caused it.
                    if not isolated:
                        self._isolated.extend(contents)
                        continue
                    results = [(Outcome.from_error(_worker_lost(error)), False)]
                for content, (outcome, retry) in zip(contents, results, strict=True):
                    if retry:
                        self._isolated.append(content)
                    else:
                        self._record_outcome(content, outcome)
        if broken is not None:
            raise _executor_error(broken) from broken

    def _record_outcome(self, content: _Content, outcome: Outcome) -> None:
        self._contents.pop(content.sha256, None)
        rows = content.rows
        if outcome.sha256 is None:
            outcome = replace(outcome, sha256=content.sha256)
        elif outcome.sha256 != content.sha256:
            # The file changed after it was fingerprinted, so its outcome does not hold for its duplicates.
            (entry, _), *others = rows
            rows = [(entry, None)]
            if others:
                other = _Content(others[0][0].path, content.sha256, content.size, others)
                self._contents[content.sha256] = other
                self._queue.append([other])
        self._journal.record_outcome(
            self._record, outcome.to_dict(), [(entry.id, stamp) for entry, stamp in rows]
        )
        self._done += len(rows)


def _executor_error(error: BaseException) -> RedeepfakeError:
    if isinstance(error, RedeepfakeError):
        return error
    return RedeepfakeError(
        f"the executor ended before the scan did ({displayable(error) or type(error).__name__})",
        next_step="Call scan() again with a new one; it resumes where this one stopped.",
    )


def _worker_lost(error: BaseException) -> WorkerLost:
    reason = displayable(error) or "no further information"
    return WorkerLost(
        f"the worker that was scoring it was lost ({type(error).__name__}: {reason})",
        next_step="Check the workers' memory limit and logs; scan again with retry_failed=True.",
    )
