"""Benchmark of videos: ``analyze_video`` with 32 and with all frames, as it was, a plain loop, a lower bound.

*As it was*: scored by TensorFlow, with faces found by HOG. The plain loop is that of ReDeepFake's web page.
Run by ``python -m benchmarks.video [clip ...]``; without clips, on the ``media/*.mp4`` of the development
data beside the checkout. All sides run alternately in one process.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cv2
import numpy as np

from redeepfake_nb import Classifier, VideoReport, analyze_video, load_model, open_video

from .page import write_section

CLIPS = Path(__file__).resolve().parents[2] / "shared" / "media"
RUNS = 3
# Seconds of a clip of which every frame is analysed, and of which the plain loop is run once.
EVERY_FRAME_OF, PLAIN_LOOP_OF = 6.0, 2.0


def plain_loop(path: str, keras: Classifier, seconds: float) -> float:
    """Compute the mean P(fake) of the first frames: OpenCV at 640 px, dlib's detector, one predict per face.

    The detector is called as ``face_recognition.face_locations`` calls it.
    """
    import dlib

    detector, model = dlib.get_frontal_face_detector(), keras.keras_model
    size = keras.preprocessing.input_size
    capture, scores = cv2.VideoCapture(path), []
    for _ in range(round(seconds * capture.get(cv2.CAP_PROP_FPS))):
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


def lower_bound(path: str, classifier: Classifier, faces: int, **sampling: object) -> None:
    """Decode the frames, and run the model on prepared batches of as many faces as were scored."""
    with open_video(path) as video:
        for _ in video.sample(**sampling):
            pass
    size = classifier.preprocessing.input_size
    batch = np.zeros((8, size, size, 3), np.float32)
    for start in range(0, faces, 8):
        classifier.logits(batch[: min(8, faces - start)])


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(path: str, classifier: Classifier, keras: Classifier, runs: int = RUNS) -> dict[str, list[float]]:
    """Measure the seconds of each side in ``runs`` alternating runs after one warm-up, and what was found."""
    samplings: dict[str, dict] = {
        "32 frames": {"frames": 32},
        "every frame": {"frames": "all", "end": EVERY_FRAME_OF},
    }
    found: dict[str, list[float]] = {}
    sides: dict[str, Callable[[], object]] = {}
    for name, sampling in samplings.items():
        analyse = partial(analyze_video, path, explain_top=0, **sampling)
        now: VideoReport = analyse(classifier)
        before: VideoReport = analyse(keras, detector="hog")
        for kind, report in ((name, now), (f"{name}, as it was", before)):
            found[f"P(fake), {kind}"] = [p.probability for p in report.persons]
            found[f"faces, {kind}"] = [len(report.sightings), report.frames, report.face_share]
        sides[name] = partial(analyse, classifier)
        sides[f"{name}, as it was"] = partial(analyse, keras, detector="hog")
        sides[f"{name}, lower bound"] = partial(lower_bound, path, classifier, len(now.sightings), **sampling)
    for name in sides:
        found[name] = []
    for _ in range(runs):
        for name, side in sides.items():
            found[name].append(_seconds(side))
    # It takes so long that it runs once, on a part.
    plain_loop(path, keras, 0.2)
    found["plain loop"] = [_seconds(lambda: plain_loop(path, keras, PLAIN_LOOP_OF))]
    part = partial(analyze_video, path, classifier, frames="all", end=PLAIN_LOOP_OF, explain_top=0)
    found["the same part"] = [_seconds(part)]
    return found


def table(name: str, found: dict[str, list[float]]) -> list[str]:
    """Format durations, and their ratios pair by pair, as lines of Markdown."""
    lines = [f"**{name}**", "", "| what | median | range | runs |", "|---|---|---|---|"]
    whats = [
        f"{what}{kind}"
        for what in ("32 frames", "every frame")
        for kind in ("", ", as it was", ", lower bound")
    ]
    for side in whats:
        s = found[side]
        lines.append(f"| {side} | {median(s):.2f} s | {min(s):.2f} to {max(s):.2f} s | {len(s)} |")
    pairs = {
        f"{a} / {b}": (found[a], found[b])
        for a, b in (
            ("32 frames, as it was", "32 frames"),
            ("every frame, as it was", "every frame"),
            ("32 frames", "32 frames, lower bound"),
            ("every frame", "every frame, lower bound"),
        )
    }
    pairs[f"plain loop / every frame, {PLAIN_LOOP_OF:g} s"] = found["plain loop"], found["the same part"]
    for label, (a, b) in pairs.items():
        r = [x / y for x, y in zip(a, b, strict=True)]
        lines.append(f"| {label} | {median(r):.2f} | {min(r):.2f} to {max(r):.2f} | {len(r)} |")
    lines.append("")
    for kind in (what for what in whats if f"faces, {what}" in found):
        faces, frames, share = found[f"faces, {kind}"]
        lines.append(
            f"* {kind}: P(fake) per person {_list(found[f'P(fake), {kind}'])}; {faces:.0f} faces in "
            f"{frames:.0f} frames, of which {share:.1%} have one."
        )
    return [*lines, ""]


def _list(values: list[float]) -> str:
    return ", ".join(f"{v:.3f}" for v in values) or "none"


def main(clips: list[str]) -> None:
    paths = clips or sorted(str(p) for p in CLIPS.glob("*.mp4"))
    classifier, keras = load_model(), load_model(runtime="tensorflow")
    lines = [
        "`analyze_video` with 32 frames of the whole clip, and with every frame of its first",
        f"{EVERY_FRAME_OF:g} s. *As it was*: scored by TensorFlow, with faces found by HOG. The lower bound",
        "decodes the same frames, and then runs the network on as many prepared faces.",
        "",
    ]
    for path in paths:
        lines += table(Path(path).name, measure(path, classifier, keras))
    write_section("Videos", lines)


if __name__ == "__main__":
    main(sys.argv[1:])
