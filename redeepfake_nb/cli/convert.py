"""``redeepfake-nb convert``: convert another model to a ``.keras`` file with a sidecar."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..errors import ModelIncomplete, displayable


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser("convert", help="convert another model to a .keras file with a sidecar")
    parser.add_argument("model", metavar="OLD", help=".keras or .h5 file, also of Keras 2, or a model's name")
    parser.add_argument("out", metavar="NEW.keras")
    parser.add_argument("--backbone", metavar="NAME", help="architecture, for a file that holds only weights")
    parser.add_argument(
        "--positive-class",
        choices=("fake", "real"),
        help="class of a high output value, or of the second of two columns",
    )
    parser.add_argument(
        "--class-names",
        nargs=2,
        metavar=("FIRST", "SECOND"),
        help="in place of --positive-class: the classes in the order of the columns; Keras: alphabetical",
    )
    parser.add_argument("--output", choices=("logit", "probability", "softmax"), help="kind of output")
    parser.add_argument("--input-size", type=int, metavar="PIXELS")
    parser.add_argument(
        "--input-frames",
        type=int,
        metavar="N",
        help="frames of a video that the model takes at once, where its input leaves the number open",
    )
    parser.add_argument("--color-order", choices=("RGB", "BGR"))
    parser.add_argument("--value-range", type=float, nargs=2, metavar=("LOW", "HIGH"))
    parser.add_argument(
        "--mean",
        type=float,
        nargs=3,
        metavar=("C1", "C2", "C3"),
        help="subtracted per channel, in the model's colour order, after --value-range",
    )
    parser.add_argument(
        "--std", type=float, nargs=3, metavar=("C1", "C2", "C3"), help="divisor per channel, after --mean"
    )
    parser.add_argument(
        "--preset",
        metavar="NAME",
        help="value range, mean and deviation by name: imagenet (torchvision), tf, caffe, efficientnet, "
        "0..1, -1..1 (as --preset=-1..1)",
    )
    parser.add_argument("--margin", type=float, help="crop margin around the face box; default: 0")
    parser.add_argument(
        "--trust",
        action="store_true",
        help="load what is not on the allowlist; code in the file then runs with your rights; needs --sha256",
    )
    parser.add_argument("--sha256", help="expected SHA-256 of the old file")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from ..faces.preprocessing import Preprocessing
    from ..models.conversion import convert_model

    described = (options.input_size, options.color_order, options.value_range)
    preprocessing = None
    frames = 1 if options.input_frames is None else options.input_frames
    if options.preset is not None:
        if options.input_size is None or options.value_range or options.mean or options.std:
            raise ValueError(
                "--preset needs --input-size, and takes the place of --value-range, --mean, --std"
            )
        order = {} if options.color_order is None else {"color_order": options.color_order}
        preprocessing = Preprocessing.preset(
            options.preset, options.input_size, margin=options.margin or 0.0, frames=frames, **order
        )
    # All three or none: a missing one would have to be guessed.
    elif all(described):
        size, order, (low, high) = described
        preprocessing = Preprocessing(
            size, order, (low, high), options.margin or 0.0, mean=options.mean, std=options.std, frames=frames
        )
    elif any((*described, options.mean, options.std, options.input_frames, options.margin is not None)):
        raise ValueError(
            "--input-size, --color-order and --value-range must be given together; or --input-size, --preset"
        )
    given = {
        "preprocessing": preprocessing,
        "output": options.output,
        "architecture": options.backbone,
        "trust": options.trust,
        "sha256": options.sha256,
    }
    named = {"positive_class": options.positive_class, "class_names": options.class_names}
    try:
        done = convert_model(options.model, options.out, **given, **named)
    except ModelIncomplete:
        if preprocessing is not None and not any(named.values()):
            print(_output_on_samples(options.model, given), file=sys.stderr)
        raise
    print(f"model: {displayable(done.path)}")
    print(f"sidecar: {displayable(done.path.with_suffix('.json'))}")
    low, high = done.logits.min(), done.logits.max()
    print(
        f"check: on {len(done.logits)} test images, the logits of the old and the new model "
        f"({low:.4f} to {high:.4f}) differ by at most {done.difference:.2g}"
    )
    if done.card.trusted:
        print(f"trusted beyond the allowlist: {', '.join(done.card.trusted)}")
    return 0


def _output_on_samples(model: str, given: dict[str, Any]) -> str:
    """Say what a model returns for a photograph and a manipulated copy, which hints at the positive class."""
    from ..datasets.samples import sample_image, sample_manipulated
    from ..faces.face import find_faces
    from ..models.loading import load_model
    from ..models.prediction import predict

    classifier = load_model(model, **given, positive_class="fake")
    frames = classifier.preprocessing.frames
    faces = [find_faces(frame)[0] for frame in (sample_image(), sample_manipulated())]
    given_faces = faces if frames == 1 else [[face] * frames for face in faces]
    real, fake = (found.probability for found in predict(classifier, given_faces))
    found = (
        "With a high output (of two columns: the second) read as fake, P(fake) of the sample photograph is "
        f"{real:.2f}, and {fake:.2f} with its face manipulated."
    )
    if abs(fake - real) < 0.05:
        return f"{found} That does not tell which class it means."
    suggested = "fake" if fake > real else "real"
    return f"{found} That suggests --positive-class {suggested}; two pictures prove nothing."
