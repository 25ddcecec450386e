"""``redeepfake-nb scan``: score many files into a journal."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from ..errors import OutputError, RedeepfakeError, displayable
from .arguments import add_analysis, detector_of, load_model_with_notice

if TYPE_CHECKING:
    import pandas as pd

    from ..scanning.result import ScanResult

# At most so many failures are printed.
_SHOWN_FAILURES = 5


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser("scan", help="score many files; resumes where it stopped")
    parser.add_argument("inputs", nargs="+", metavar="FOLDER|LIST.csv|FILE")
    parser.add_argument(
        "--journal", default="results.sqlite", help="SQLite file with the results; default: results.sqlite"
    )
    parser.add_argument("--csv", metavar="OUT.csv", help="write the results as a CSV table")
    parser.add_argument("--parquet", metavar="OUT.parquet", help="write the results as a Parquet table")
    parser.add_argument(
        "--report",
        metavar="R.html",
        help="write a page on the files with the highest and the most uncertain scores",
    )
    add_analysis(parser)
    backend = parser.add_mutually_exclusive_group()
    backend.add_argument(
        "--workers", type=int, metavar="N", help="worker processes; default: by cores and free memory"
    )
    backend.add_argument(
        "--scheduler", metavar="ADDRESS", help="scheduler of a Dask cluster, such as tcp://head:8786"
    )
    parser.add_argument("--time-limit", type=float, metavar="SECONDS", help="per file; default: 1800")
    parser.add_argument("--retry-failed", action="store_true", help="score files again that failed before")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from tqdm import tqdm

    from ..models.loading import read_card
    from ..models.tested_kinds import blind_spots
    from ..scanning.executors import connect_dask
    from ..scanning.listing import check_existence
    from ..scanning.result import check_parquet
    from ..scanning.scheduler import TIME_LIMIT, scan

    check_existence(options.inputs)
    _check_outputs(options)
    if options.parquet:
        check_parquet(options.parquet)
    client = connect_dask(options.scheduler) if options.scheduler else None
    try:
        with tqdm(unit="file", disable=None) as bar:

            def progress(done: int, total: int | None) -> None:
                bar.total = total
                bar.update(done - bar.n)

            result = scan(
                options.inputs,
                options.journal,
                options.model,
                executor=client,
                workers=options.workers,
                frames=options.frames,
                detector=detector_of(options),
                threshold=options.threshold,
                max_pixels=options.max_pixels,
                stream=options.stream,
                time_limit=TIME_LIMIT if options.time_limit is None else options.time_limit,
                retry_failed=options.retry_failed,
                runtime=options.runtime,
                progress=progress,
            )
    except KeyboardInterrupt:
        print(
            f"stopped; results so far are in {displayable(options.journal)}, and the same command resumes",
            file=sys.stderr,
        )
        return 130
    finally:
        if client is not None:
            client.close()
    summary = result.summary()
    for line in _table(result, summary):
        print(line)
    for line in _failures(result):
        print(line, file=sys.stderr)
    limits = blind_spots(read_card(options.model).tested_on)
    if limits and (summary["verdict"] == "real").any():
        print(f"No sign found does not mean genuine: {limits}.")
    for out, write in ((options.csv, result.to_csv), (options.parquet, result.to_parquet)):
        if out:
            print(f"table: {displayable(write(out))}")
    if options.report:
        _report(options, result)
    return 1 if result.counts["failed"] else 0


def _check_outputs(options: argparse.Namespace) -> None:
    """Check before the scan that no output would replace the journal, another output, or an input.

    Raises
    ------
    OutputError
        One would.
    """
    from ..scanning.listing import is_listed
    from ..utils.writing import KEEP_ORIGINAL, check_not_input

    sources = [(path, "the input") for path in options.inputs]
    if options.model:
        sources.append((options.model, "the model"))
    for out, what in (
        (options.journal, "the journal"),
        (options.csv, "the CSV table"),
        (options.parquet, "the Parquet table"),
        (options.report, "the report"),
    ):
        if not out:
            continue
        for source, source_words in sources:
            check_not_input(out, source, source_words)
        # Files in folders and lists are not listed yet, but what a folder's list would take is no old output.
        if os.path.isfile(out) and is_listed(out):
            raise OutputError("it is an image or a video", subject=out, next_step=KEEP_ORIGINAL)
        sources.append((out, what))


def _report(options: argparse.Namespace, result: ScanResult) -> None:
    """Write the page on a scan, with a progress bar for the files that are analysed again."""
    from tqdm import tqdm

    from ..report.html_page import html

    classifier = load_model_with_notice(options.model, options.runtime)
    with tqdm(unit="file", desc="analysing for the report", disable=None) as bar:

        def progress(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        made = html(result, options.report, classifier=classifier, progress=progress)
    print(f"report: {displayable(made)}")


def _failures(result: ScanResult) -> list[str]:
    """Return the first failures of a scan with path, cause and next step, and how many more there are."""
    from ..scanning.records import Filter

    rows = result.rows(Filter(statuses=("failed",)), limit=_SHOWN_FAILURES)
    errors = [
        RedeepfakeError(row.cause or "it failed", subject=row.path, next_step=row.next_step or "")
        for row in rows
    ]
    lines = [f"failed: {error}" for error in errors]
    if more := result.counts["failed"] - len(rows):
        lines.append(f"… and {more:,} more; --csv has all")
    return lines


def _table(result: ScanResult, summary: pd.DataFrame) -> list[str]:
    """Return one line for each kind of outcome of a scan."""
    from ..analysis.verdict import VERDICT_WORDS
    from ..utils.wording import pluralize

    lines = [f"{displayable(result.journal)}: {pluralize(sum(result.counts.values()), 'file')}"]
    for row in summary.itertuples():
        verdict = VERDICT_WORDS.get(row.verdict)
        kind = row.error if row.status == "failed" else verdict if row.status != "no face" else None
        name = f"{row.status}: {kind}" if isinstance(kind, str) else row.status
        copies = f"  ({row.duplicates} with the same bytes as another)" if row.duplicates else ""
        lines.append(f"  {name:<32} {row.files:>7}{copies}")
    return lines
