"""Benchmark of videos: ``analyze_video`` with 32 and with all frames, a plain loop, and a lower bound.

The plain loop is the one of ReDeepFake's web page. Run by ``python -m benchmarks.video [clip ...]``; without
clips, on the ``media/*.mp4`` of the development data beside the checkout. All sides run alternately in one
process, on the same model.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cv2
import numpy as np

from redeepfake_nb import Card, Classifier, Preprocessing, analyze_video, build_model, load_model, open_video
from redeepfake_nb.faces.detection import HogDetector

from .page import write_section

CLIPS = Path(__file__).resolve().parents[2] / "shared" / "media"
RUNS = 5


def plain_loop(path: str, classifier: Classifier) -> float:
    """Compute the mean P(fake) of all frames: OpenCV at 640 px width, dlib's detector, one predict per face.

    The detector is called as ``face_recognition.face_locations`` calls it.
    """
    import dlib

    detector, model = dlib.get_frontal_face_detector(), classifier.keras_model
    size = classifier.preprocessing.input_size
    capture, scores = cv2.VideoCapture(path), []
    while True:
        read, frame = capture.read()
        if not read:
            break
        frame = cv2.resize(frame, (640, round(640 * frame.shape[0] / frame.shape[1])))
        rgb = np.ascontiguousarray(frame[..., ::-1])
        for box in detector(rgb, 1):
            crop = rgb[max(box.top(), 0) : box.bottom(), max(box.left(), 0) : box.right()]
            x = cv2.resize(crop, (size, size)).astype(np.float32)[None]
            scores.append(1 / (1 + np.exp(-float(model.predict(x, verbose=0)[0, 0]))))
    capture.release()
    return float(np.mean(scores)) if scores else float("nan")


def lower_bound(path: str, classifier: Classifier, frames: int | str, faces: int) -> None:
    """Decode the frames, and run the model on prepared batches of as many faces as were scored."""
    with open_video(path) as video:
        for _ in video.sample(frames=frames):
            pass
    size = classifier.preprocessing.input_size
    batch = np.zeros((16, size, size, 3), np.float32)
    for start in range(0, faces, 16):
        classifier.logits(batch[: min(16, faces - start)])


def detections(path: str, frames: int) -> float:
    """Measure one detection on each of the sampled frames, in seconds."""
    detect = HogDetector((2_000_000,))
    with open_video(path) as video:
        pictures = [frame.image for frame in video.sample(frames=frames)]
    return _seconds(lambda: [detect(picture) for picture in pictures])


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(path: str, classifier: Classifier, runs: int = RUNS) -> dict[str, list[float]]:
    """Measure the seconds of each side in ``runs`` alternating runs after one warm-up, and the scores."""
    few = analyze_video(path, classifier, explain_top=0)
    every = analyze_video(path, classifier, frames="all", explain_top=0)
    sides: dict[str, Callable[[], object]] = {
        "plain loop": lambda: plain_loop(path, classifier),
        "32 frames": lambda: analyze_video(path, classifier, explain_top=0),
        "every frame": lambda: analyze_video(path, classifier, frames="all", explain_top=0),
        "lower bound, 32 frames": lambda: lower_bound(path, classifier, 32, len(few.sightings)),
        "lower bound, every frame": lambda: lower_bound(path, classifier, "all", len(every.sightings)),
        "one detection per sampled frame": lambda: detections(path, 32),
    }
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(runs):
        for name, side in sides.items():
            found[name].append(_seconds(side))
    found["P(fake), 32 frames"] = [p.probability for p in few.persons]
    found["P(fake), every frame"] = [p.probability for p in every.persons]
    found["share of frames with a face"] = [few.face_share, every.face_share]
    return found


def table(name: str, found: dict[str, list[float]]) -> list[str]:
    """Format durations, and their ratios pair by pair, as lines of Markdown."""
    lines = [f"**{name}**", "", "| what | median | range | runs |", "|---|---|---|---|"]
    for side in (
        "plain loop",
        "32 frames",
        "every frame",
        "lower bound, 32 frames",
        "lower bound, every frame",
    ):
        s = found[side]
        lines.append(f"| {side} | {median(s):.2f} s | {min(s):.2f} to {max(s):.2f} s | {len(s)} |")
    bounds = [
        a + b
        for a, b in zip(
            found["lower bound, 32 frames"], found["one detection per sampled frame"], strict=True
        )
    ]
    pairs = {
        "plain loop / 32 frames": (found["plain loop"], found["32 frames"]),
        "plain loop / every frame": (found["plain loop"], found["every frame"]),
        "32 frames / (lower bound + one detection per frame)": (found["32 frames"], bounds),
        "every frame / lower bound": (found["every frame"], found["lower bound, every frame"]),
    }
    for label, (a, b) in pairs.items():
        r = [x / y for x, y in zip(a, b, strict=True)]
        lines.append(f"| {label} | {median(r):.2f} | {min(r):.2f} to {max(r):.2f} | {len(r)} |")
    few, every = found["P(fake), 32 frames"], found["P(fake), every frame"]
    shares = found["share of frames with a face"]
    lines += [
        "",
        f"P(fake) per person: {_list(few)} with 32 frames, {_list(every)} with every frame. A face was found "
        f"in {shares[0]:.1%} of the 32 frames and {shares[1]:.1%} of all.",
        "",
    ]
    return lines


def _list(values: list[float]) -> str:
    return ", ".join(f"{v:.3f}" for v in values) or "none"


def main(clips: list[str]) -> None:
    paths = clips or sorted(str(p) for p in CLIPS.glob("*.mp4"))
    reference = Classifier(build_model("EfficientNetB4"), Card(preprocessing=Preprocessing(input_size=224)))
    lines = [__doc__.split("\n\n")[0], ""]
    for model_name, classifier in (("default model", load_model()), ("EfficientNetB4", reference)):
        for path in paths:
            lines += table(f"{Path(path).name}, {model_name}", measure(path, classifier))
            write_section("Videos", lines)  # after each, since all of them take most of an hour


if __name__ == "__main__":
    main(sys.argv[1:])
