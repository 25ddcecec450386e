"""Arguments that several commands take, and what they stand for."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ..models.classifier import Classifier
    from ..models.runtimes import Runtime


DETECTOR_HELP = (
    "face detector: blazeface (default; fast, finds turned, covered and small faces), hog (faces from the "
    "front, as face_recognition finds them) or cnn (face_recognition's other one, slow without a GPU)"
)


def add_analysis(command: argparse.ArgumentParser) -> None:
    """Add the arguments that every analysis of pictures and videos has."""
    command.add_argument(
        "--model",
        metavar="PATH",
        help="model file with its sidecar, or a model's name; default: the model that ships",
    )
    command.add_argument("--detector", help=DETECTOR_HELP)
    command.add_argument(
        "--threshold",
        type=float,
        help="decision threshold on P(fake), above 0 and below 1; default: the model's",
    )
    command.add_argument(
        "--frames",
        type=frames,
        default=32,
        metavar="N|all",
        help="frames to sample from a video; default: 32",
    )
    command.add_argument(
        "--max-pixels",
        type=pixels,
        metavar="N",
        help="largest width x height of a picture or frame, such as 200e6; default: 64 million for pictures",
    )
    command.add_argument(
        "--stream", type=int, metavar="N", help="which video stream of a file with several, from 1"
    )
    command.add_argument(
        "--runtime",
        choices=("auto", "litert", "tensorflow"),
        help="what computes scores; default: LiteRT on a CPU if it agrees with Keras, else TensorFlow",
    )


def add_data(
    command: argparse.ArgumentParser,
    data: str = "CSV, Kaggle deepfake-faces folder, or real/ fake/ tree; several are joined",
    images: str = "folder or ZIP file with the images that a single CSV lists",
) -> None:
    """Add the arguments that name labelled faces, with these help texts."""
    command.add_argument("--data", required=True, nargs="+", metavar="PATH", help=data)
    command.add_argument("--images", metavar="PATH", help=images)


def pixels(text: str) -> int:
    """Parse a number of pixels, such as ``200e6``."""
    number = float(text)
    if not 1 <= number < float("inf"):
        raise ValueError
    return int(number)


def frames(text: str) -> int | Literal["all"]:
    """Parse a number of frames, or ``all``."""
    return "all" if text == "all" else int(text)


def detector_of(options: argparse.Namespace) -> str:
    """Return the detector that was named, or the default, which is not imported to print help."""
    from ..faces.detection import DEFAULT_DETECTOR

    return options.detector or DEFAULT_DETECTOR


def load_model_with_notice(name_or_path: str | None, runtime: Runtime | None = None) -> Classifier:
    """Load a model, by default the built-in one, with a message to people who wait at a terminal."""
    if sys.stderr.isatty():
        print("Loading the model (the first time on a machine, for about a minute) ...", file=sys.stderr)
    from ..models.loading import default_classifier, load_model

    if name_or_path or runtime:
        return load_model(name_or_path, runtime=runtime)
    return default_classifier()
