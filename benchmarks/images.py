"""Benchmark of images: import, analysis, face detection, heatmaps, and comparison with EfficientNet-B4."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cv2
import numpy as np

from redeepfake_nb import (
    Card,
    Classifier,
    Frame,
    Preprocessing,
    analyze_image,
    build_model,
    explain,
    find_faces,
    load_model,
    predict,
    preprocess,
)
from redeepfake_nb.datasets.samples import sample_image

from .measure import Ratio, Timing, command, compared, timed
from .page import write_section


def picture(width: int, height: int, portrait_height: int) -> np.ndarray:
    """Make a (height, width, 3) uint8 image of the sample portrait on a textured background."""
    ground = cv2.GaussianBlur(
        np.random.default_rng(0).integers(60, 190, (height, width, 3), np.uint8), (0, 0), 3
    )
    portrait = sample_image().image
    factor = portrait_height / portrait.shape[0]
    portrait = cv2.resize(portrait, None, fx=factor, fy=factor)
    top, left = (height - portrait.shape[0]) // 2, (width - portrait.shape[1]) // 2
    ground[top : top + portrait.shape[0], left : left + portrait.shape[1]] = portrait
    return ground


def times(classifier: Classifier, folder: Path) -> list[Timing]:
    """Measure durations."""
    full_hd = picture(1920, 1080, 700)
    file = folder / "full-hd.jpg"
    cv2.imwrite(str(file), full_hd[..., ::-1])
    data = file.read_bytes()
    python = sys.executable
    large, small = Frame(picture(4000, 3000, 2400)), Frame(picture(4000, 3000, 300))
    face = find_faces(Frame(full_hd))[0]
    batch = preprocess(face, classifier.preprocessing)
    predictions = predict(classifier, [face])
    analyze = [python, "-m", "redeepfake_nb.cli", "analyze", str(file)]
    return [
        command("python -c pass (start of Python)", [python, "-c", "pass"]),
        command("python -c 'import redeepfake_nb'", [python, "-c", "import redeepfake_nb"]),
        command("python -c 'import tensorflow'", [python, "-c", "import tensorflow"]),
        command("redeepfake-nb --help", [python, "-m", "redeepfake_nb.cli", "--help"]),
        command("redeepfake-nb analyze, 1080p, cold", analyze),
        command("redeepfake-nb analyze, 1080p, cold, by TensorFlow", [*analyze, "--runtime", "tensorflow"]),
        timed("analyze_image, 1080p JPEG, warm", lambda: analyze_image(data, classifier)),
        timed(
            "analyze_image, 1080p JPEG, warm, with Grad-CAM",
            lambda: analyze_image(data, classifier, explain="gradcam"),
        ),
        timed("  forward pass, one face", lambda: classifier.logits(batch)),
        timed("  Grad-CAM, one face", lambda: explain(classifier, predictions)),
        timed("find_faces, 1080p, face of 12 % of the width", lambda: find_faces(Frame(full_hd))),
        timed("find_faces, 12 MP, large face", lambda: find_faces(large), runs=3),
        timed("find_faces, 12 MP, small face", lambda: find_faces(small), runs=3),
    ]


def ratios(classifier: Classifier) -> list[Ratio]:
    """Compare durations."""
    face = find_faces(sample_image())[0]
    one, eight = predict(classifier, [face]), predict(classifier, [face] * 8)
    batch = preprocess([face], classifier.preprocessing)
    batch_of_8 = preprocess([face] * 8, classifier.preprocessing)
    reference = Classifier(build_model("EfficientNetB4"), Card(preprocessing=Preprocessing(input_size=224)))
    reference_batch = preprocess([face], reference.preprocessing)
    keras = load_model(runtime="tensorflow")
    return [
        compared(
            "LiteRT / TensorFlow, forward pass of one face",
            ("LiteRT", lambda: classifier.logits(batch)),
            ("TensorFlow", lambda: keras.logits(batch)),
        ),
        compared(
            "LiteRT / TensorFlow, forward pass of 8 faces",
            ("LiteRT", lambda: classifier.logits(batch_of_8)),
            ("TensorFlow", lambda: keras.logits(batch_of_8)),
        ),
        compared(
            "Grad-CAM of one face / forward pass",
            ("Grad-CAM", lambda: explain(classifier, one)),
            ("forward", lambda: classifier.logits(batch)),
        ),
        compared(
            "Grad-CAM of 8 faces / forward pass of 8",
            ("Grad-CAM", lambda: explain(classifier, eight)),
            ("forward", lambda: classifier.logits(batch_of_8)),
        ),
        compared(
            "default model / EfficientNetB4 at 224 px, forward pass of one face",
            ("default", lambda: classifier.logits(batch)),
            ("EfficientNetB4", lambda: reference.logits(reference_batch)),
        ),
    ]


def main() -> None:
    classifier = load_model()
    with tempfile.TemporaryDirectory() as folder:
        measured, ratio = times(classifier, Path(folder)), ratios(classifier)
    lines = [
        "| what | median | range | runs |",
        "|---|---|---|---|",
        *[t.row() for t in measured],
        "",
        "| ratio | median | range | pairs |",
        "|---|---|---|---|",
        *[r.row() for r in ratio],
    ]
    write_section("Pictures", lines)


if __name__ == "__main__":
    main()
