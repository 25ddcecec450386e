"""``redeepfake-nb evaluate``: measure a model on labelled faces or videos."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ..errors import UnsupportedMedia, displayable
from .arguments import DETECTOR_HELP, add_data, frames, load_model_with_notice

if TYPE_CHECKING:
    from ..datasets.labelled_faces import LabelledFaces
    from ..datasets.labelled_videos import LabelledVideos

_Labelled = TypeVar("_Labelled", "LabelledFaces", "LabelledVideos")


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser("evaluate", help="evaluate a model on labelled faces or videos")
    parser.add_argument(
        "--model",
        default="default",
        help="model file with its sidecar, or a model's name; default: the model that ships",
    )
    add_data(
        parser,
        "CSV, Kaggle deepfake-faces folder, or real/ fake/ tree; of videos also FaceForensics++, Celeb-DF or "
        "DFDC; several are joined",
        "folder or ZIP file with the images, or folder with the videos, that a single CSV lists",
    )
    parser.add_argument(
        "--as",
        dest="media",
        choices=("faces", "videos"),
        help="what to evaluate on, where the data hold both; default: what they hold",
    )
    parser.add_argument("--split", help="split to evaluate on, such as val; default: all faces or videos")
    parser.add_argument("--limit", type=int, help="maximum number of faces or videos, half of them fake")
    parser.add_argument(
        "--false-positive-rate",
        type=float,
        metavar="RATE",
        help="choose the threshold by the largest share of real faces or videos that may be predicted fake",
    )
    parser.add_argument(
        "--by",
        nargs="+",
        default=(),
        metavar="COLUMN",
        help="columns of the CSV with groups of faces that you annotated, such as glasses, to report "
        "error rates of",
    )
    parser.add_argument(
        "--sweep", type=int, metavar="N", help="faces for the robustness test; 0: none; default: 200"
    )
    parser.add_argument("--resamples", type=int, default=1000, help="bootstrap resamples for intervals")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for tables and charts")
    videos = parser.add_argument_group(
        "videos", "analysed as a scan: the same command resumes where it stopped"
    )
    videos.add_argument(
        "--journal", metavar="FILE.sqlite", help="SQLite file with the scores; default: DIR.sqlite"
    )
    videos.add_argument("--detector", help=DETECTOR_HELP)
    videos.add_argument(
        "--frames", type=frames, metavar="N|all", help="frames to sample from a video; default: 32"
    )
    videos.add_argument("--aggregation", help="how a person's frames become one score; default: mean_logit")
    videos.add_argument(
        "--workers", type=int, metavar="N", help="worker processes; default: by cores and free memory"
    )
    videos.add_argument("--time-limit", type=float, metavar="SECONDS", help="per video; default: 1800")
    videos.add_argument(
        "--retry-failed", action="store_true", default=None, help="score videos again that failed before"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    if _evaluated_media(options) == "videos":
        return _evaluate_videos(options)
    from tqdm import tqdm

    from ..datasets.joining import read_collections
    from ..report.evaluation import save_evaluation

    given = [name for name, value in _video_options(options).items() if value is not None]
    if given:
        raise ValueError(f"--{given[0].replace('_', '-')} is for videos, and the data are faces")
    faces = read_collections(options.data, options.images)
    if options.split:
        faces = _part(faces, options.split, "face")
    classifier = load_model_with_notice(None if options.model == "default" else options.model)
    with tqdm(unit="step", disable=None) as bar:

        def progress(done: int, total: int | None) -> None:
            bar.total, bar.n = total, done
            bar.refresh()

        out = save_evaluation(
            classifier,
            faces,
            options.out,
            limit=options.limit,
            false_positive_rate=options.false_positive_rate,
            by=options.by,
            sweep=200 if options.sweep is None else options.sweep,
            resamples=options.resamples,
            seed=options.seed,
            progress=progress,
        )
    print(f"tables and charts: {displayable(out)}")
    print(f"read first: {displayable(out / 'summary.md')}")
    return 0


def _evaluated_media(options: argparse.Namespace) -> Literal["faces", "videos"]:
    """Tell whether to evaluate on labelled faces or on labelled videos."""
    from ..datasets.labelled_videos import labelled_media

    if options.media:
        return options.media
    found = set().union(*(labelled_media(path) for path in options.data))
    if len(found) == 2:
        raise UnsupportedMedia(
            "both labelled pictures and labelled videos are in it",
            subject=options.data[0],
            next_step="Say which to evaluate on: --as faces or --as videos.",
        )
    return "videos" if found == {"videos"} else "faces"


def _part(labelled: _Labelled, split: str, what: str) -> _Labelled:
    """Select one split of labelled faces or videos.

    Raises
    ------
    ValueError
        Nothing is in it.
    """
    splits = sorted(str(name) for name in labelled.table["split"].dropna().unique())
    part = labelled.part(split)
    if not len(part):
        known = f"there are {', '.join(splits)}" if splits else "there are no splits"
        raise ValueError(f"no {what} is in the split {split}; {known}")
    return part


def _video_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options of ``evaluate`` that concern videos alone; ``None`` where they were not given."""
    names = ("journal", "detector", "frames", "aggregation", "workers", "time_limit", "retry_failed")
    return {name: getattr(options, name) for name in names}


def _evaluate_videos(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from ..datasets.labelled_videos import read_video_collections
    from ..report.video_evaluation import save_video_evaluation

    if options.sweep:
        raise ValueError("--sweep is for faces, and the data are videos")
    if options.by:
        raise ValueError("--by is for faces, and the data are videos")
    videos = read_video_collections(options.data, options.images)
    if options.split:
        videos = _part(videos, options.split, "video")
    try:
        with tqdm(unit="video", disable=None) as bar:

            def progress(done: int, total: int | None) -> None:
                bar.total, bar.n = total, done
                bar.refresh()

            out = save_video_evaluation(
                None if options.model == "default" else options.model,
                videos,
                options.out,
                limit=options.limit,
                false_positive_rate=options.false_positive_rate,
                resamples=options.resamples,
                seed=options.seed,
                progress=progress,
                **{name: value for name, value in _video_options(options).items() if value is not None},
            )
    except KeyboardInterrupt:
        print("stopped; what was scored is in the journal, and the same command resumes", file=sys.stderr)
        return 130
    print(f"tables and charts: {displayable(out)}")
    print(f"read first: {displayable(out / 'summary.md')}")
    if (left_out := out / "left_out.csv").is_file():
        print(f"videos without a part in the metrics: {displayable(left_out)}")
    return 0
