"""Reports on images and on videos meet one protocol."""

from __future__ import annotations

import pytest
from helpers import video_records
from helpers.reports import make_report

from redeepfake_nb.analysis.report import Report, highest_probability


def image() -> Report:
    return make_report((2.0, -1.0), heat=True)


def video() -> Report:
    return video_records.report(
        video_records.sighting(0.0, 1.0), video_records.sighting(0.5, -2.0, person=1), settings={"frames": 2}
    )


@pytest.mark.parametrize(("make", "kind"), [(image, "image"), (video, "video")])
def test_common_members(make, kind) -> None:
    report = make()
    assert report.kind == kind
    assert report.source is not None
    assert report.name == report.source.name
    assert report.frame_size[0] > 0
    assert len(report.scored) == 2
    assert highest_probability(report) == max(one.probability for one in report.scored)
    assert report.verdict.threshold == report.threshold == 0.5
    assert len(report.explanation_names) == len(report.explanations)
    assert report.at_threshold(0.9).threshold == 0.9
    assert len(report.to_frame()) == 2
    assert report.to_dict()["source"] == report.source.to_dict()
    assert (report.card.version, dict(report.timing)) == (report.card.version, {})
    assert report.settings.keys() <= {"frames"}


def test_names_of_heatmaps() -> None:
    assert image().explanation_names == ("Face 1", "Face 2")


@pytest.mark.parametrize("report", [make_report(()), video_records.report(times=[0.0])])
def test_without_faces_there_is_no_highest_probability(report: Report) -> None:
    assert not report.scored
    assert highest_probability(report) is None
