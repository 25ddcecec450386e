"""Video reports with chosen scores, for tests of plots and files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from redeepfake_nb import Card, Face, Frame, Prediction, Preprocessing
from redeepfake_nb.analysis.video_report import Sighting, VideoReport
from redeepfake_nb.media.frames import Source


@dataclass(frozen=True)
class Read:
    """Stub for the completeness of a video."""

    complete: bool = True
    summary: str = "read to the end"
    first_error: str | None = None
    pictures: int = 1000

    def to_dict(self) -> dict:
        return {"complete": self.complete}


def sighting(time: float, logit: float, person: int = 0, **options) -> Sighting:
    values = {
        "frame": round(time * 25),
        "timestamp": time,
        "box": (40, 30, 140, 130),
        "track": person,
        "person": person,
        "logit": logit,
        "temperature": 1.0,
        "confidence": 1.5,
        "sharpness": 300.0,
    }
    return Sighting(**{**values, **options})


def portrait(person: int, logit: float = 0.0) -> Prediction:
    pixels = np.random.default_rng(person).integers(60, 200, (180, 180, 3)).astype(np.uint8)
    face = Face(Frame(pixels, 3, 0.12), (40, 40, 140, 140), person=person, track=person, sharpness=300.0)
    return Prediction(face, logit, 1.0, 0.5)


def report(*sightings: Sighting, times: np.ndarray | None = None, **options) -> VideoReport:
    if times is None:
        times = np.unique([s.timestamp for s in sightings])
    values = {
        "source": Source("clip.mp4", "0" * 64, "MP4", 1000, ()),
        "sightings": tuple(sorted(sightings, key=lambda s: (s.timestamp, s.track))),
        "frame_times": np.asarray(times, float),
        "frame_size": (640, 480),
        "duration": float(max(times, default=0)) + 0.1,
        "card": Card(name="test", preprocessing=Preprocessing(input_size=32), temperature=1.0, min_face=50),
        "threshold": 0.5,
        "completeness": Read(),
    }
    return VideoReport(**{**values, **options})
