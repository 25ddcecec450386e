"""Whatever was ignored, assumed or not looked at while reading stands in every view of a report."""

from __future__ import annotations

import html
import json
from dataclasses import replace
from pathlib import Path

from helpers import video_records
from helpers.reports import make_report

from redeepfake_nb import report as files
from redeepfake_nb import view
from redeepfake_nb.media.frames import Source
from redeepfake_nb.media.notes import Note, doubt, unseen
from redeepfake_nb.scanning.file_scoring import Outcome
from redeepfake_nb.widgets import html as panels

NOTES = (Note("a profile is ignored"), doubt("fine detail may be lost"), unseen("1 of 6 pictures looked at"))
TEXTS = [note.text for note in NOTES]
SOURCE = Source("file.bin", "ab" * 32, "PNG", 1, NOTES)


def image_report():
    made = make_report(logits=(-3.0,))
    made = replace(made, frame=replace(made.frame, source=SOURCE))
    return made.at_threshold(0.5)


def video_report():
    faces = [video_records.sighting(i * 0.2, -3.0) for i in range(9)]
    return video_records.report(*faces, source=SOURCE)


def missing(text: object) -> list[str]:
    # A reason in a list begins with a capital letter.
    plain = " ".join(html.unescape(str(text)).split()).lower()
    return [words for words in TEXTS if words not in plain]


def test_every_note_is_in_every_view(tmp_path: Path) -> None:
    for made in (image_report(), video_report()):
        assert made.verdict.label == "inconclusive"
        assert [reason for reason in made.verdict.reasons if reason in TEXTS] == TEXTS[1:]
        views = {
            "JSON": json.loads(files.to_json(made))["source"]["warnings"],
            "CSV": files.to_csv(made),
            "page": files.html(made, tmp_path / f"{made.kind}.html").read_text(),
            "row of a scan": Outcome.from_image(made, 0.0).reasons
            if made.kind == "image"
            else Outcome.from_video(made, 0.0).reasons,
            "panel": panels.verdict(made) if made.kind == "image" else panels.video_verdict(made),
            "figure": (view.plot_faces if made.kind == "image" else view.plot_timeline)(made).get_title(),
        }
        files.save_all([made], tmp_path / made.kind)
        views["summary"] = (tmp_path / made.kind / "summary.csv").read_text()
        assert {name: missing(text) for name, text in views.items() if missing(text)} == {}
