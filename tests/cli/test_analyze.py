"""The command gives the results of the functions, continues after a bad file, and says what to do."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from helpers.numbered_clips import several_streams
from helpers.planted_models import classifier_without_map
from PIL import Image

from redeepfake_nb import (
    analyze_image,
    analyze_video,
    load_model,
    open_video,
    read_image,
    save_model,
)
from redeepfake_nb.cli import main


def test_analyze_prints_verdict_and_faces(model: str, portrait: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["analyze", str(portrait), "--model", model, "--threshold", "0.3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{portrait}: ")
    assert lines[0].endswith("(threshold 0.30)")
    assert lines[1].startswith("  - P(fake) at or over 0.30 for ")
    assert "at threshold 0.30, box " in lines[-1]


def test_analyze_json_equals_analyze_image(model: str, portrait: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["analyze", str(portrait), str(portrait), "--json", "--model", model]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    found, expected = json.loads(lines[0]), analyze_image(portrait, load_model(model)).to_dict()
    for values in (found, expected):
        del values["timing"]
    assert found == json.loads(json.dumps(expected))


def test_bad_files_do_not_stop_the_others(
    model: str, portrait: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    broken = tmp_path / "<img src=x onerror=alert(1)>\n.jpg"
    broken.write_bytes(b"")
    files = [str(broken), str(tmp_path / "absent.jpg"), str(portrait)]
    assert main(["analyze", *files, "--model", model]) == 1
    out, err = capsys.readouterr()
    assert out.startswith(f"{portrait}: ")
    assert len(err.splitlines()) == 2
    assert "empty" in err.splitlines()[0]

    assert main(["analyze", *files, "--model", model, "--json"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["error"] == "EmptyFile"
    assert lines[0]["next_step"]
    assert lines[2]["faces"]


@pytest.mark.slow
def test_analyze_saves(model: str, portrait: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["analyze", str(portrait), "--model", model, "--save", str(tmp_path / "out")]) == 0
    folder = tmp_path / "out" / portrait.stem
    names = {path.name for path in folder.iterdir()}
    assert {"report.json", "faces.csv", "face_01.png", "face_01_overlay.png"} <= names
    assert f"saved in {folder}" in capsys.readouterr().out


@pytest.mark.slow
def test_analyze_prints_persons(
    model: str, video: Path, portrait: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = [str(video), str(portrait), "--frames", "6", "--threshold", "0.01", "--model", model]
    assert main(["analyze", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{video}: ")
    (person,) = [line for line in lines if line.startswith("  person ")]
    assert "at threshold 0.01, in 6 of 6 sampled frames; frames reach the threshold: 0.5 to 5.5 s" in person
    assert lines[-1].startswith("  face 1: P(fake) = ")


@pytest.mark.slow
def test_analyze_json_equals_analyze_video(model: str, video: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["analyze", str(video), "--json", "--model", model, "--frames", "4"]) == 0
    found = json.loads(capsys.readouterr().out)
    report = analyze_video(video, load_model(model), frames=4, explain="gradcam")
    expected = json.loads(json.dumps(report.to_dict()))
    for values in (found, expected):
        del values["timing"]
    assert found == expected


@pytest.mark.parametrize("output", ["--json", "--save"])
def test_a_missing_heatmap_costs_no_score(
    output: str, video: Path, portrait: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    model = save_model(classifier_without_map(branches=True), tmp_path / "branches.keras")
    options = [output] if output == "--json" else [output, str(tmp_path / "saved")]
    files = [str(video), str(portrait)]
    assert main(["analyze", *files, *options, "--model", str(model), "--frames", "5"]) == 0
    printed = capsys.readouterr().out
    if output == "--json":
        clip, photo = (json.loads(line) for line in printed.splitlines())
        assert len(clip["persons"]) == len(photo["faces"]) == 1
        assert "Choose saliency" in clip["heatmap_error"]
        return
    assert printed.count("no heatmaps: ") == 2
    named = ["--explain", "gradcam", "--layer", "branch_b"]
    assert main(["analyze", str(portrait), *options, "--model", str(model), *named]) == 0
    assert "no heatmaps" not in capsys.readouterr().out


@pytest.mark.slow
def test_analyze_saves_and_annotates_a_video(
    model: str, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out.mp4"
    options = ["--model", model, "--frames", "3", "--save", str(tmp_path / "saved"), "--annotate", str(out)]
    assert main(["analyze", str(video), *options]) == 0
    printed = capsys.readouterr().out
    folder = tmp_path / "saved" / video.stem
    assert f"annotated video: {out}" in printed
    assert f"saved in {folder}" in printed
    names = {"report.json", "sightings.csv", "timeline.png", "persons.png", "strongest_frames.png"}
    assert {path.name for path in folder.iterdir()} == names
    with open_video(out) as annotated:
        assert annotated.frame_count == 72


def test_annotate_is_for_one_video(
    model: str, portrait: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    options = ["--model", model, "--annotate", str(tmp_path / "out.mp4")]
    assert main(["analyze", str(portrait), *options]) == 2
    assert "--annotate is for videos" in capsys.readouterr().err
    assert main(["analyze", str(portrait), str(portrait), *options]) == 2
    assert "one video, not 2 files" in capsys.readouterr().err


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(("option", "what"), [("--annotate", "the video"), ("--save", "the file")])
def test_the_original_is_kept(
    option: str, what: str, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    link = tmp_path / "link.mp4"
    link.symlink_to(video)
    before = video.read_bytes()
    for out in (video, link):
        assert main(["analyze", str(video), option, str(out)]) == 1
        error = capsys.readouterr().err
        assert f"it is {what} itself. Choose another file; the original is left as it is." in error
    assert video.read_bytes() == before


@pytest.mark.parametrize("frames", ["none", "1.5"])
def test_frames_is_a_number_or_all(model: str, frames: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["analyze", "x", "--model", model, "--frames", frames])
    assert "--frames" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--threshold", "2"], "between 0 and 1"), (["--explain", "magic"], "unknown method")],
)
def test_options_are_checked_before_the_model_is_loaded(
    no_model: None, portrait: Path, arguments: list, message: str, capsys: pytest.CaptureFixture
) -> None:
    assert main(["analyze", str(portrait), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_files_are_checked_before_the_model_is_loaded(
    no_model: None, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["analyze", str(tmp_path), str(tmp_path / "absent.jpg")]) == 1
    folder, absent = capsys.readouterr().err.splitlines()
    assert "this is a folder" in folder
    assert "redeepfake-nb scan" in folder
    assert "no such file" in absent


def test_loading_the_model_is_announced_at_a_terminal(
    model: str, portrait: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["analyze", str(portrait), "--model", model]) == 0
    said = "Loading the model (the first time on a machine, for about a minute) ...\n"
    assert capsys.readouterr().err == said


def test_warnings_of_the_source_are_printed(
    model: str, portrait: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "transparent.png"
    with Image.open(portrait) as image:
        image.putalpha(200)
        image.save(path)
    warnings = read_image(path).source.warnings
    assert warnings
    assert main(["analyze", str(path), "--model", model]) == 0
    assert f"  warning: {warnings[0]}" in capsys.readouterr().out.splitlines()


def test_a_stream_can_be_chosen(model: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "two.mkv"
    path.write_bytes(several_streams([6, 8]))
    for options, reason in (
        ([], "only video stream 1 of 2 looked at; choose another with stream="),
        (["--stream", "2"], "only video stream 2 of 2 looked at, as chosen"),
    ):
        assert main(["analyze", str(path), "--model", model, *options]) == 0
        assert capsys.readouterr().out.splitlines().count(f"  - {reason}") == 1
    assert main(["analyze", str(path), "--model", model, "--stream", "3"]) == 1
    assert "there is no video stream 3 in it, the last is 2" in capsys.readouterr().err
    assert main(["analyze", str(path), "--model", model, "--stream", "0"]) == 2


def test_max_pixels(model: str, portrait: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with Image.open(portrait) as image:
        width, height = image.size
        image.convert("RGB").save(tmp_path / "large.png")
        image.convert("RGB").save(tmp_path / "large.jpg")
    limit = ["--model", model, "--max-pixels", str(width * height - 1)]
    assert main(["analyze", str(tmp_path / "large.png"), *limit]) == 1
    assert "raise max_pixels (--max-pixels)" in capsys.readouterr().err
    assert main(["analyze", str(tmp_path / "large.jpg"), *limit]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "over the limit" in line)
    assert line.startswith(f"  - its {width} x {height} pixels are over the limit")
    for wrong in ("0", "nan", "inf", "many"):
        with pytest.raises(SystemExit):
            main(["analyze", str(portrait), "--max-pixels", wrong])


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--threshold", "2"], 2, "between 0 and 1"),
        (["--explain", "magic"], 2, "unknown method"),
        (["--detector", "magic"], 2, "magic"),
        (["--model", "absent.keras"], 1, "no such file"),
    ],
)
def test_invalid_options(
    model: str, portrait: Path, arguments: list, status: int, message: str, capsys: pytest.CaptureFixture
) -> None:
    assert main(["analyze", str(portrait), "--model", model, *arguments]) == status
    assert message in capsys.readouterr().err
