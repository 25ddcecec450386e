"""The HTML page: content, isolation from network and hostile names, equal bytes for equal reports."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from helpers import video_records
from helpers.reports import make_report
from helpers.scan_helpers import folder, probability, square, write

from redeepfake_nb import Classifier, InputError, Journal, OutputError, report, scan
from redeepfake_nb.analysis.verdict import VERDICT_WORDS
from redeepfake_nb.explanation.badge import Faithfulness
from redeepfake_nb.media.frames import Source
from redeepfake_nb.models.card import Card
from redeepfake_nb.models.tested_kinds import KINDS, KindResult
from redeepfake_nb.provenance import Claim, ContentCredentials, Provenance, Thumbnail
from redeepfake_nb.report import html_page
from redeepfake_nb.report.html_content import at_base_rate, provenance_view
from redeepfake_nb.report.html_templates import render_macro
from redeepfake_nb.report.setting_words import in_plain_words
from redeepfake_nb.scanning.records import Filter
from redeepfake_nb.scanning.result import ScanResult

HOSTILE = """"><img src=x onerror=alert(1)><script>alert(2)</script>{{ 7*7 }}\u202egpj.exe"""
DATE = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
VOID = {"meta", "img", "br", "rect"}


class Page(HTMLParser):
    """Tags with their attributes, the text, and whether every tag is closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(self.source)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.words += f" {data}"

    def find(self, tag: str) -> list[dict[str, str]]:
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(self.words.split())


def page_of(reports: object, tmp_path: Path, **options: object) -> Page:
    out = tmp_path / "out" / "report.html"
    assert report.html(reports, out, date=DATE, **options) == out
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]
    return Page(out)


def test_no_sign_found_is_never_shown_without_what_the_model_cannot_see(tmp_path: Path) -> None:
    missed = KindResult("generated", HOSTILE, 0.3, 0.25, 0.35, 1100, 2200)
    card = Card(name="hand", version="1", temperature=1.0, tested_on=(missed,))
    page = page_of(make_report((-3.0,), card=card), tmp_path)
    limits = "does not detect wholly generated faces, and was not tested on swapped faces"
    assert f"No sign of manipulation found (threshold 0.50), but this model {limits}" in page.text
    assert f"No sign found does not mean genuine. hand 1: this model {limits}" in page.text
    assert "● no sign found" in page.text
    assert "● real" not in page.text
    assert "wholly generated faces" in page.text.split("Tested on these kinds of fakes")[1]
    assert "no 1,100, 2,200 0.300 0.250 to 0.350" in page.text
    assert page.find("script") == []


def test_a_model_that_detects_all_kinds_needs_no_notice(tmp_path: Path) -> None:
    all_kinds = tuple(KindResult(kind, "A", 0.9, 0.8, 1.0, 100, 100) for kind in KINDS)
    page = page_of(make_report((-3.0,), card=Card(temperature=1.0, tested_on=all_kinds)), tmp_path)
    assert "does not mean genuine" not in page.text


def test_points_to_manipulation_is_never_shown_without_false_alarms(tmp_path: Path) -> None:
    metrics = {"threshold": 0.5, "recall": {"value": 0.8}, "balanced_accuracy": {"value": 0.85}}
    card = Card(name="hand", version="1", temperature=1.0, metrics=metrics)
    rate = "of 100 genuine faces in this model's test about 10 reach it, too"
    page = page_of(make_report((3.0,), card=card), tmp_path)
    assert f"Points to manipulation (threshold 0.50), but {rate}" in page.text
    assert "Points to manipulation does not mean fake." in page.text
    assert f"hand 1, at threshold 0.50: {rate}." in page.text
    assert "None of those checked" in page.text
    unknown = page_of(make_report((3.0,), card=Card(temperature=1.0)), tmp_path)
    assert "How many is not known." in unknown.text
    assert "does not mean fake" not in page_of(make_report((-3.0,), card=card), tmp_path).text


def test_an_image(tmp_path: Path) -> None:
    made = make_report((2.0, -3.0), heat=True)
    page = page_of(made, tmp_path)
    assert "Made on 2026-01-02 03:04 UTC" in page.text
    assert "photo.jpg ◆ points to manipulation 0.88 0.50" in page.text
    assert made.verdict.headline in page.text
    for reason in made.verdict.reasons:
        assert reason in page.text
    assert "ab" * 32 in page.text
    assert "The faithfulness of this heatmap was not checked." in page.text
    # A small face at the top, the image, and a heatmap for each of two faces.
    pictures = [attrs["src"] for attrs in page.find("img")]
    assert len(pictures) == 4
    assert page.find("img")[0]["class"] == "thumbnail"
    for source in pictures:
        head, _, data = source.partition(",")
        assert head in ("data:image/png;base64", "data:image/jpeg;base64")
        assert base64.b64decode(data, validate=True).startswith((b"\x89PNG", b"\xff\xd8\xff"))
    # P(fake) 0.88 as a bar of 88.1 per cent, with the threshold at 50.
    bars = [attrs for attrs in page.find("rect") if attrs["class"] == "rdf-fill rdf-fake"]
    assert [attrs["width"] for attrs in bars] == ["88.1"]
    assert [attrs["width"] for attrs in page.find("rect") if attrs["class"] == "rdf-fill rdf-real"] == ["4.7"]


def test_what_was_not_analysed_is_named(tmp_path: Path) -> None:
    left = [("a <i>.png", "it is empty (0 bytes)."), ("b.png", "The analysis ended before it.")]
    page = page_of(make_report((2.0,)), tmp_path, not_analysed=left)
    assert "Not analysed 2 more files were given. This page says nothing about them." in page.text
    assert "a <i>.png it is empty (0 bytes). b.png The analysis ended before it." in page.text
    assert page.text.index("Not analysed") < page.text.index("The model and its accuracy")
    assert "Not analysed" not in page_of(make_report((2.0,)), tmp_path).text


def test_an_array_has_no_file_to_be_described(tmp_path: Path) -> None:
    made = make_report((2.0,))
    frame = replace(made.frame, source=Source("array", None, "array", None))
    page = page_of(replace(made, frame=frame), tmp_path)
    assert "size 400 x 100 px format array The image with its faces" in page.text


def test_the_model_is_described_before_the_files(tmp_path: Path) -> None:
    figure = {"value": 0.8, "low": 0.7, "high": 0.9}
    metrics = {
        "auc": figure,
        "accuracy": figure,
        "faces": 2000,
        "groups": 50,
        "split": "val",
        "threshold": 0.5,
    }
    card = Card(
        name="mine",
        version="3",
        sha256="cd" * 32,
        temperature=1.0,
        training_data="faces of my own",
        metrics={**metrics, "known_failures": ["It fails at night."]},
    )
    text = page_of(make_report((2.0,), card=card), tmp_path).text
    assert text.index("faces of my own") < text.index("File by file")
    assert "2,000 faces of 50 people (val)" in text
    assert "about 20 faces in 100 got the wrong label" in text
    assert "0.800 0.700 to 0.900" in text
    assert "It fails at night." in text
    assert "cd" * 32 in text
    assert "never calibrated" not in text


def test_a_model_without_metrics_says_so(tmp_path: Path) -> None:
    card = Card(name="bare", trusted=("Lambda",), unresponsive=True)
    text = page_of(make_report((2.0,), card=card), tmp_path).text
    assert "No metrics come with this model" in text
    assert "This model was never calibrated" in text
    assert "run because somebody trusted it: Lambda" in text
    assert "gave all test images the same score" in text


def test_malformed_metrics_are_ignored(tmp_path: Path) -> None:
    card = Card(name="odd", metrics={"auc": "high", "accuracy": {"value": None}})
    assert "No metrics come with this model" in page_of(make_report((2.0,), card=card), tmp_path).text


def test_base_rates_by_hand() -> None:
    # Odds of 4 to 1, times 1 to 99: 4 to 99.
    assert at_base_rate(0.8, 0.01) == pytest.approx(4 / 103)
    assert at_base_rate(0.8, 0.5) == pytest.approx(0.8)
    # Calibrated where one in ten was fake: odds 4 there are odds 36 where half are, and 36 / 99 where one in
    # a hundred is.
    assert at_base_rate(0.8, 0.01, 0.1) == pytest.approx(36 / 135)
    assert at_base_rate(0.8, 0.1, 0.1) == pytest.approx(0.8)


def test_the_table_of_base_rates_goes_by_how_the_model_was_calibrated(tmp_path: Path) -> None:
    metrics = {"fake": 25, "faces": 100}
    known = Card(temperature=1.0, metrics=metrics)
    page = page_of(make_report((-3.0,), card=known), tmp_path).text
    assert "that is where 25 % of the faces were fake. Where fakes are rarer" in page
    assert "if 1 % are fake" in page
    review = {"before calibration": {"files": 50, "fake": 5}}
    page = page_of(make_report((-3.0,), card=replace(known, metrics=review)), tmp_path).text
    assert "that is where 10 % of the files were fake. Where fakes are rarer" in page
    for card in (
        Card(temperature=None, metrics=metrics),
        Card(temperature=None, metrics=review),
        Card(temperature=1.0),
        replace(known, metrics={"fake": 3}),
    ):
        page = page_of(make_report((-3.0,), card=card), tmp_path).text
        assert "if 1 % are fake" not in page
        assert "how rare they were there is not known of this model" in page


def test_a_video(tmp_path: Path) -> None:
    sightings = [video_records.sighting(i / 10, 3.0 if 4 <= i < 8 else -3.0) for i in range(12)]
    made = video_records.report(*sightings)
    page = page_of([made], tmp_path)
    assert made.verdict.headline in page.text
    assert "1 person" in page.text
    assert "12 of 12" in page.text
    assert made.verdict.label == "inconclusive"
    assert "but frames of person 1 at 0.4 to 0.7 s reach P(fake) 0.95" in page.text
    assert "12 of 1,000 frames, one every 0.10 s; 100% of these show a face" in page.text
    assert "lowest frame highest frame" in page.text
    assert "0.05 0.95" in page.text
    assert "the mean of the frames' log-odds, in which very sure frames count more" in page.text
    assert "0.4 to 0.7 s" in page.text
    assert {attrs["alt"] for attrs in page.find("img")} == {"P(fake) over time", "Persons"}


@pytest.mark.slow
def test_badges_and_reasons(tmp_path: Path) -> None:
    made = make_report((2.0, 1.0), heat=True)
    check = Faithfulness(made.explanations[1], "weak", ("it moves the score less than most random maps",))
    page = page_of(made, tmp_path, checks=[check])
    assert "~ heatmap weak" in page.text
    assert "It moves the score less than most random maps" in page.text
    assert page.text.count("was not checked") == 1


def test_regions_are_a_table(tmp_path: Path) -> None:
    made = make_report((2.0,), heat=True)
    text = page_of(made, tmp_path).text
    assert made.explanations[0].regions.sentence in text


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    card = Card(name=HOSTILE, training_data=HOSTILE, sha256=HOSTILE, metrics={"split": HOSTILE})
    pictures = [
        make_report((2.0,), name=HOSTILE, card=card),
        make_report((2.0,), settings={HOSTILE: HOSTILE}),
    ]
    page = page_of(pictures, tmp_path, title=HOSTILE)
    assert page.find("script") == []
    assert all("onerror" not in attrs for _, attrs in page.tags)
    assert all(attrs["src"].startswith(("data:image/png", "data:image/jpeg")) for attrs in page.find("img"))
    assert "\u202e" not in page.source
    assert "{{ 7*7 }}" in page.text
    assert "<script>alert(2)</script>" in page.text


def test_the_page_does_not_replace_what_it_is_on(tmp_path: Path) -> None:
    video = tmp_path / "clip.mp4"
    video.write_bytes(b"evidence")
    made = replace(video_records.report(video_records.sighting(0, 1)), origin=video)
    with pytest.raises(OutputError, match="it is the video itself"):
        report.html([made], video)
    assert video.read_bytes() == b"evidence"


def test_the_page_loads_and_runs_nothing(tmp_path: Path) -> None:
    page = page_of(make_report((2.0,), heat=True), tmp_path)
    [policy] = [a["content"] for a in page.find("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    style = re.search(r"<style>(.*?)</style>", page.source, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "form", "object", "base"})
    for _, attrs in page.tags:
        assert "style" not in attrs
        assert not [name for name in attrs if name.startswith("on")]
        assert attrs.get("href", "#").startswith("#")
    for address in re.findall(r"\w+://[^\s\"'<]+", re.sub(r"data:[^\"]+", "", page.source)):
        raise AssertionError(address)


@pytest.mark.slow
def test_equal_reports_give_equal_bytes(tmp_path: Path) -> None:
    one, two, three = (tmp_path / f"{i}.html" for i in range(3))
    report.html(make_report((2.0,), heat=True, timing={"read": 1.0}), one, date=DATE)
    report.html(make_report((2.0,), heat=True, timing={"read": 2.0}), two, date=DATE)
    assert one.read_bytes() == two.read_bytes()
    report.html(make_report((2.0,), heat=True), three, date=datetime(2030, 5, 6, 7, 8))
    assert three.read_text().replace("2030-05-06 07:08", "2026-01-02 03:04") == one.read_text()


def test_differing_settings_are_both_shown(tmp_path: Path) -> None:
    both = [make_report((2.0,), settings={"margin": margin, "detector": "hog"}) for margin in (0.0, 0.3)]
    words = "face detector hog added around a face, as a share of its longer side 0, 0.3"
    assert words in page_of(both, tmp_path).text


def test_settings_are_in_plain_words() -> None:
    values = {"searches": {"whole": 2, "near": 0}, "aggregation": "mean_logit", "explain": "gradcam"}
    values |= {"target": "fake", "margin": None, "start": None, "mine": HOSTILE}
    assert in_plain_words([values, {"explain": None}]) == {
        "added around a face, as a share of its longer side": "the model's own",
        "score of a person": "Mean log-odds of the frames",
        "heatmaps": "Grad-CAM, none",
        "heatmaps show": "evidence for fake",
        "searches for faces": "2 of whole frames",
        "mine": HOSTILE,
    }


def test_reasons_are_whole_and_one_is_not_many(tmp_path: Path) -> None:
    made = make_report((2.0,))
    reasons = tuple(f"reason number {i}, which goes on and on for a while" for i in range(20))
    made = replace(made, verdict=replace(made.verdict, reasons=reasons))
    page = page_of(made, tmp_path)
    assert all(page.text.count(f"Reason number {i}, which goes on") == 2 for i in range(20))
    card = Card(
        name="one", metrics={"auc": {"value": 0.8}, "accuracy": {"value": 0.99}, "faces": 1, "groups": 1}
    )
    text = page_of(make_report((2.0,), card=card), tmp_path).text
    assert "Measured on 1 face of 1 person" in text
    assert "about 1 face in 100 got" in text


def test_nothing_is_said_of_metadata_that_could_not_be_read() -> None:
    def box(*unread: str) -> str:
        view = provenance_view(Provenance(Source("a.png", None, "PNG", 1), unread=unread))
        return render_macro("parts.html.j2", "provenance_box", view)

    assert "It declares nothing on how it was made, which means nothing." in box()
    assert "It declares nothing" in box("trust list: there is no such file")
    found = box("XMP: it is cut off")
    assert "declares nothing" not in found
    assert "Nothing was found in what could be read of it; not read: XMP: it is cut off." in found


def test_what_the_file_says_of_itself_stands_above_the_verdict(tmp_path: Path) -> None:
    credentials = ContentCredentials("tampered", issuer=HOSTILE, problems=(HOSTILE,))
    preview = Thumbnail(np.full((20, 30, 3), 90, np.uint8), 50.0, differs=True)
    claims = (Claim("generator", HOSTILE, "PNG text", ai=True),)
    found = Provenance(Source("photo.jpg", None, "JPEG", 1), credentials, claims, (), preview)
    page = page_of(make_report().with_provenance(found), tmp_path)
    assert page.text.index("What the file says of itself") < page.text.index("by the score alone")
    assert "TAMPERED: the file was changed after its Content Credentials were signed" in page.text
    assert "claims, unsigned: generator" in page.text
    assert [tag for tag in page.find("div") if "rdf-loud" in tag.get("class", "")]
    assert any(tag["alt"] == "The preview embedded in the file" for tag in page.find("img"))
    assert not page.find("script")
    silent = page_of(make_report().with_provenance(Provenance(found.source)), tmp_path)
    assert "declares nothing on how it was made, which means nothing" in silent.text
    assert "What the file says of itself" not in page_of(make_report(), tmp_path).text


def test_no_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no report"):
        report.html([], tmp_path / "r.html")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_earlier_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "r.html"
    out.write_text("before")

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="disk is full"):
        report.html(make_report(), out)
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]
    assert out.read_text() == "before"


# ------------------------------------------------------------------ scans


@pytest.fixture
def scanned(classifier: Classifier, tmp_path: Path) -> ScanResult:
    """Files with eight faces from dark to bright, one of them twice; one without a face, one empty."""
    files = folder(tmp_path / "files", 8)
    (files / "again.png").write_bytes((files / "07.png").read_bytes())
    write(files / "none.png", None)
    (files / f"empty{HOSTILE.replace('/', '_')}.png").touch()
    return scan(files, tmp_path / "j.sqlite", classifier, workers=0, detector=square)


def shown(page: Page) -> list[tuple[str, str]]:
    """(name, why) of the summary's rows."""
    verdict = "|".join(VERDICT_WORDS.values())
    return re.findall(rf"(\w+\.png)\s+\S+ (?:{verdict}) [\d.]+ [\d.]+ (\w+)", page.text)


@pytest.mark.slow
def test_a_scan_shows_the_strongest_and_the_most_doubtful(
    scanned: ScanResult, classifier: Classifier, tmp_path: Path
) -> None:
    calls = []
    page = page_of(
        scanned,
        tmp_path,
        classifier=classifier,
        detector=square,
        top=2,
        check_top=1,
        progress=lambda done, total: calls.append((done, total)),
    )
    greys = {f"{i:02d}.png": 20 + 200 * i // 7 for i in range(8)}
    doubtful = sorted(greys, key=lambda name: abs(probability(greys[name]) - 0.6))
    strongest = ["07.png", "06.png"]
    doubtful = [name for name in doubtful if name not in strongest][:2]
    found = shown(page)
    # Two files with the same content are shown once, under either name.
    assert [name.replace("again", "07") for name, _ in found] == [*strongest, *doubtful]
    assert [why for _, why in found] == ["strongest", "strongest", "doubtful", "doubtful"]
    assert calls == [(i, 4) for i in range(5)]
    assert "11 files were scanned: 9 scored, 1 without a face, 1 failed." in page.text
    assert "heatmap" in page.text
    assert page.text.count("was not checked") == 3
    assert "EmptyFile" in page.text
    assert "none.png without a face" in page.text
    assert page.find("script") == []
    # The page names no folder of this machine.
    assert str(tmp_path) not in page.source


def test_copies_of_one_picture_leave_room_for_others(
    scanned: ScanResult, classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tmp_path / "files"
    for i in range(30):
        (files / f"copy{i:02d}.png").write_bytes((files / "07.png").read_bytes())
    many = scan(files, tmp_path / "j.sqlite", classifier, workers=0, detector=square)
    monkeypatch.setattr(html_page, "_PAGE", 7)
    with_score = Filter(statuses=("done", "partial"), min_score=0.0)
    found = [row.sha256 for row in html_page._by_content(many, with_score, "strongest", {})]
    assert len(found) == len(set(found)) == 8
    first, *_ = many.rows(with_score, order="strongest", limit=1)
    assert first.sha256 not in [
        row.sha256 for row in html_page._by_content(many, with_score, "strongest", {first.sha256: None})
    ]


def test_labels_of_people_are_shown(scanned: ScanResult, classifier: Classifier, tmp_path: Path) -> None:
    row = scanned.rows(order="strongest", limit=1)[0]
    with Journal(scanned.journal) as journal:
        journal.set_label(row.sha256, "real", row.path)
    page = page_of(scanned, tmp_path, classifier=classifier, detector=square, top=1, check_top=0)
    assert "Labelled real by a person." in page.text


def test_missing_and_changed_files_are_reported(
    scanned: ScanResult, classifier: Classifier, tmp_path: Path
) -> None:
    files = tmp_path / "files"
    (files / "06.png").unlink()
    for name in ("07.png", "again.png"):
        write(files / name, 100)
    page = page_of(scanned, tmp_path, classifier=classifier, detector=square, top=2, check_top=0)
    assert "The file could not be analysed again: there is no such file. " in page.text
    assert str(tmp_path) not in page.text
    assert "06.png" in page.text
    assert "Result of the scan: ◆ points to manipulation, P(fake)" in page.text
    assert "The file has changed since the scan" in page.text


def test_another_model_is_refused(scanned: ScanResult, classifier: Classifier, tmp_path: Path) -> None:
    object.__setattr__(scanned.scan, "model_sha256", "0" * 64)
    other = classifier.with_card(replace(classifier.card, sha256="1" * 64))
    with pytest.raises(InputError, match="another model"):
        report.html(scanned, tmp_path / "r.html", classifier=other)


@pytest.mark.slow
def test_a_cancelled_page_has_the_files_done_so_far(
    scanned: ScanResult, classifier: Classifier, tmp_path: Path
) -> None:
    done = []
    page = page_of(
        scanned,
        tmp_path,
        classifier=classifier,
        detector=square,
        check_top=0,
        progress=lambda i, total: done.append(i),
        cancel=lambda: len(done) > 2,
    )
    assert 2 <= len(shown(page)) <= 3


def test_an_empty_heatmap_has_no_table_of_regions(tmp_path: Path) -> None:
    made = make_report((2.0,), heat=True)
    object.__setattr__(made.explanations[0], "peak", 0.0)
    object.__setattr__(made.explanations[0], "heatmap", np.zeros_like(made.explanations[0].heatmap))
    page = page_of(made, tmp_path)
    assert "share of the evidence" not in page.text
