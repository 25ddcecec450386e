"""Image reports with chosen scores."""

from __future__ import annotations

import numpy as np

from redeepfake_nb.analysis.image import ImageReport
from redeepfake_nb.analysis.verdict import judge
from redeepfake_nb.explanation.heatmaps import Explanation
from redeepfake_nb.faces.face import Face
from redeepfake_nb.faces.preprocessing import Preprocessing
from redeepfake_nb.media.frames import Frame, Source
from redeepfake_nb.models.card import Card
from redeepfake_nb.models.prediction import Prediction


def make_report(logits=(2.0,), *, name="photo.jpg", heat=False, card=None, margin=0.0, **extra):
    card = card or Card(name="hand", version="1", temperature=1.0, preprocessing=Preprocessing(margin=margin))
    pixels = np.random.default_rng(0).integers(0, 256, (100, 400, 3), np.uint8)
    frame = Frame(pixels, source=Source(name, "ab" * 32, "PNG", 1))
    predictions = tuple(
        Prediction(Face(frame, (10 + 90 * i, 10, 90 + 90 * i, 90), sharpness=12.5), logit, card.temperature)
        for i, logit in enumerate(logits)
    )
    explanations = ()
    if heat:
        shape = predictions[0].face.crop(margin).shape[:2]
        ones = np.ones(shape, np.float32)
        explanations = tuple(
            Explanation(p, ones, "gradcam", "fake", "conv", 0.5, margin) for p in predictions
        )
    return ImageReport(frame, predictions, judge(predictions, card, 0.5), card, explanations, **extra)
