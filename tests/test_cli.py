"""The command gives the results of the functions, continues after a bad file, and says what to do."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import metadata
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from helpers.grey_faces import grey_faces
from helpers.numbered_clips import several_streams
from helpers.planted_models import classifier_without_map
from PIL import Image

from redeepfake_nb import (
    Classifier,
    __version__,
    analyze_image,
    analyze_video,
    doctor,
    load_model,
    open_video,
    read_image,
    save_model,
)
from redeepfake_nb.cli import main
from redeepfake_nb.datasets.samples import clip_frames, encode_clip, sample_clip, write_samples
from redeepfake_nb.datasets.signed_samples import make_signed_samples
from redeepfake_nb.doctor import Finding, examine
from redeepfake_nb.media.file_types import is_video
from redeepfake_nb.models import loading


@pytest.fixture(scope="module")
def model(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_model(classifier, tmp_path_factory.mktemp("model") / "tiny.keras"))


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model may be loaded."""
    for name in ("load_model", "default_classifier"):
        monkeypatch.setattr(loading, name, lambda *_, **__: pytest.fail("a model was loaded"))


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_samples(tmp_path_factory.mktemp("samples"))[0]


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


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.bin"  # the name does not tell the format
    path.write_bytes(sample_clip())
    return path


@pytest.mark.slow
def test_analyze_prints_persons(
    model: str, video: Path, portrait: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = [str(video), str(portrait), "--frames", "6", "--threshold", "0.01", "--model", model]
    assert main(["analyze", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{video}: ")
    (person,) = [line for line in lines if line.startswith("  person ")]
    assert "at threshold 0.01, in 6 of 6 frames; frames reach the threshold: 0.5 to 5.5 s" in person
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


@pytest.mark.parametrize("frames", ["none", "1.5"])
def test_frames_is_a_number_or_all(model: str, frames: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["analyze", "x", "--model", model, "--frames", frames])
    assert "--frames" in capsys.readouterr().err


def test_is_video(video: Path, portrait: Path, tmp_path: Path) -> None:
    still, moving = tmp_path / "still.gif", tmp_path / "moving.gif"
    pictures = [Image.new("RGB", (32, 32), (40 * i, 0, 0)) for i in range(3)]
    pictures[0].save(still)
    pictures[0].save(moving, save_all=True, append_images=pictures[1:])
    large = tmp_path / "large.mp4"
    with open(large, "wb") as file:  # larger than any image may be, most of it sparse
        file.write(sample_clip()[:1000])
        file.truncate(300 * 2**20)
    assert [is_video(str(p)) for p in (video, moving, large)] == [True] * 3
    assert [is_video(str(p)) for p in (portrait, still, tmp_path / "absent", tmp_path)] == [False] * 4


def test_version(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"redeepfake-nb {__version__}\n"


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
    assert capsys.readouterr().err == "Loading the model ...\n"


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


def test_parquet_needs_pyarrow_before_the_scan(
    portrait: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    options = ["--journal", str(tmp_path / "j"), "--parquet", str(tmp_path / "t.parquet")]
    assert main(["scan", str(portrait), *options]) == 1
    assert "redeepfake-nb[parquet]" in capsys.readouterr().err
    assert not (tmp_path / "j").exists()


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


@pytest.mark.slow
def test_command_prints_only_its_result(portrait: Path) -> None:
    """In a process of its own: default model, one face, empty standard error."""
    run = subprocess.run(
        [sys.executable, "-m", "redeepfake_nb.cli", "analyze", str(portrait), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stderr == ""
    assert len(json.loads(run.stdout)["faces"]) == 1


def test_train_joins_collections_and_leaves_sources_out(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Training itself is replaced: which faces reach it, and what is printed of its results."""
    given = []
    table = pd.DataFrame({"source": ["a"], "fakes": [4], "auc": [0.75]})

    def train(recipe, faces, out, *, progress, log=print):
        log("written")
        progress(1, recipe.steps, 0.5)
        given.append((recipe.name, faces, out))
        return Path(out) / "made.keras"

    monkeypatch.setattr("redeepfake_nb.training.exporter.train_and_export", train)
    monkeypatch.setattr(
        "redeepfake_nb.training.leave_one_out.leave_one_source_out",
        lambda *args, **options: (train(*args, **options), table)[1],
    )
    paths = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        paths.append(str(tmp_path / name / f"{name}.csv"))
        grey_faces(tmp_path / name).table.to_csv(paths[-1], index=False)
    out, recipe = str(tmp_path / "out"), str(root / "models" / "recipes" / "smoke.toml")
    assert main(["train", recipe, "--data", *paths, "--out", out]) == 0
    assert "made.keras" in capsys.readouterr().out
    assert main(["train", recipe, "--data", paths[0], "--out", out, "--leave-one-out"]) == 0
    assert re.search(r"a +4 +0\.750", capsys.readouterr().out)
    (name, both, where), (_, alone, _) = given
    assert (name, where) == ("smoke", out)
    assert set(both.table["collection"]) == {"one", "two"}
    assert len(both) == 2 * len(alone)


@pytest.mark.slow
def test_evaluate(model: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    faces = grey_faces(data)
    faces.table.to_csv(data / "faces.csv", index=False)
    common = ["evaluate", "--model", model, "--data", str(data / "faces.csv"), "--resamples", "10"]
    assert (
        main([*common, "--split", "val", "--sweep", "4", "--false-positive-rate", "0.25", "--out", str(out)])
        == 0
    )
    printed = capsys.readouterr().out
    assert str(out) in printed
    assert str(out / "summary.md") in printed
    assert json.loads((out / "metrics.json").read_text())["threshold"]["target_false_positive_rate"] == 0.25
    assert len((out / "robustness.csv").read_text().splitlines()) > 20

    assert main([*common, "--split", "test", "--out", str(out)]) == 2
    assert "no face is in the split test; there are val" in capsys.readouterr().err
    assert main([*common, "--out", str(data)]) == 1
    assert "something other than an earlier report" in capsys.readouterr().err


@pytest.mark.slow
def test_doctor_finds_no_problem(capsys: pytest.CaptureFixture) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert out.endswith("no problem found\n")
    for topic in (
        "python",
        "tensorflow",
        "devices",
        "detector blazeface",
        "detector hog",
        "detector cnn",
        "default model",
        "heatmap",
        "widgets",
    ):
        assert topic in out
    assert re.search(r"scored by +(LiteRT \S+ on CPU, \d+ thread|TensorFlow \S+ on GPU)", out)


def test_doctor_names_every_device(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    gpu = SimpleNamespace(name="/physical_device:GPU:0")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [gpu])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: {"device_name": "Tesla T4"})
    [finding] = doctor._device()
    assert finding.ok
    assert finding.detail.endswith("; GPU 0, Tesla T4")


def test_doctor_without_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "version", nowhere)
    monkeypatch.setattr(doctor, "PACKAGES", ("redeepfake-nb", "numpy"))
    found = doctor._packages()
    assert [finding.ok for finding in found] == [True, False]
    assert "imported from its folder" in found[0].detail


def test_doctor_suggests_steps(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", ("numpy", "a-package-that-is-not-there"))

    def broken() -> list[Finding]:
        raise ImportError("libdlib.so is not there")

    monkeypatch.setattr(doctor, "_detectors", broken)
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "-> Run `pip install a-package-that-is-not-there`." in out
    assert "ImportError: libdlib.so is not there" in out
    assert out.endswith("2 problems found\n")
    assert all(finding.ok or finding.step for finding in examine())


@pytest.fixture
def mixed(tmp_path: Path, portrait: Path) -> Path:
    folder = tmp_path / "mixed"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(portrait.read_bytes())
    Image.new("RGB", (64, 64)).save(folder / "nobody.png")
    return folder


@pytest.mark.slow
def test_scan_prints_a_summary_and_writes_csv(
    model: str, mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    journal, out = tmp_path / "j.sqlite", tmp_path / "out.csv"
    options = ["--journal", str(journal), "--model", model, "--workers", "0", "--csv", str(out)]
    assert main(["scan", str(mixed), *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{journal}: 3 files"
    assert lines[1].startswith("  done: ")
    assert lines[1].endswith("      2  (1 with the same bytes as another)")
    assert lines[2].split() == ["no", "face", "1"]
    assert lines[3].startswith("No sign found does not mean genuine: nothing is known about which kinds")
    assert lines[4] == f"table: {out}"
    assert len(out.read_text().splitlines()) == 4

    (mixed / "empty.jpg").write_bytes(b"")
    assert main(["scan", str(mixed), *options]) == 1
    assert f"  {'failed: EmptyFile':<32}       1" in capsys.readouterr().out


@pytest.mark.slow
def test_scan_writes_a_report(model: str, mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    page = tmp_path / "out" / "r.html"
    options = ["--journal", str(tmp_path / "j"), "--model", model, "--workers", "0", "--report", str(page)]
    assert main(["scan", str(mixed), *options]) == 0
    assert f"report: {page}" in capsys.readouterr().out
    text = page.read_text()
    assert "3 files were scanned" in text
    assert "data:image/" in text
    assert main(["scan", str(mixed), *options[:-1], str(mixed / "a.png" / "r.html")]) == 1
    assert "there is a file of that name" in capsys.readouterr().err


def test_scan_errors(model: str, mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    common = ["scan", str(mixed), "--model", model, "--workers", "0"]
    (tmp_path / "notes").write_text("mine")
    assert main([*common, "--journal", str(tmp_path / "notes")]) == 1
    assert "not a journal of redeepfake_nb" in capsys.readouterr().err
    assert main([*common, "--journal", str(tmp_path / "j"), "--detector", "magic"]) == 2
    assert main(["scan", str(tmp_path / "absent.csv"), "--journal", str(tmp_path / "j")]) == 1
    assert "the list cannot be read" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*common, "--scheduler", "tcp://head:8786"])


def test_interrupted_scan_resumes(
    model: str, mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("redeepfake_nb.scanning.file_scoring.find_faces", lambda *_, **__: interrupted())
    options = ["--journal", str(tmp_path / "j"), "--model", model, "--workers", "0"]
    assert main(["scan", str(mixed), *options]) == 130
    assert "the same command resumes" in capsys.readouterr().err
    monkeypatch.undo()
    assert main(["scan", str(mixed), *options]) == 0


def test_provenance_needs_no_model(no_model: None, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    samples = make_signed_samples(tmp_path)
    files = [str(samples.generated), str(tmp_path / "missing.jpg"), str(samples.tampered)]
    assert main(["provenance", *files, "--trust-list", str(samples.trust_list)]) == 1
    printed = capsys.readouterr()
    assert f"{files[0]}: valid Content Credentials say that generative AI made it" in printed.out
    assert "signer is on the trust list" in printed.out
    assert f"{files[2]}: the file was changed after" in printed.out
    assert "missing.jpg: there is no such file" in printed.err

    assert main(["provenance", "--json", files[0], str(samples.claimed)]) == 0
    generated, claimed = map(json.loads, capsys.readouterr().out.splitlines())
    assert (generated["declared_ai"], claimed["declared_ai"]) == ("verified", "claimed")
    assert generated["credentials"]["signer"] == "not checked"
    assert generated["source"]["name"] == "generated.jpg"


def test_provenance_loads_no_tensorflow(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(path)
    code = (
        "import sys; from redeepfake_nb.cli import main; main(['provenance', sys.argv[1]]); "
        "print(sorted({'tensorflow', 'keras', 'cv2', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "which means nothing" in done.stdout


def test_evaluate_on_videos(model: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    shown = list(islice(clip_frames(), 2))
    bright = [np.clip(frame.astype(int) + 60, 0, 255).astype(np.uint8) for frame in shown]
    for name, data in (
        ("real/a.mp4", encode_clip(shown)),
        ("fake/b.mp4", encode_clip(bright)),
        ("fake/c.mp4", b""),
    ):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(data)
    out = tmp_path / "out"
    common = ["evaluate", "--model", model, "--data", str(tmp_path / "data"), "--out", str(out)]
    assert main([*common, "--workers", "0", "--frames", "2", "--resamples", "0"]) == 0
    printed = capsys.readouterr().out
    assert str(out / "summary.md") in printed
    assert str(out / "left_out.csv") in printed
    values = json.loads((out / "metrics.json").read_text())
    assert (values["scored"], values["left_out"], values["frames"]["frames"]) == (2, {"failed": 1}, 4)
    assert values["videos"]["auc"]["value"] == 1
    assert (tmp_path / "out.sqlite").is_file()

    assert main([*common, "--sweep", "4"]) == 2
    assert "--sweep is for faces" in capsys.readouterr().err
    Image.new("RGB", (64, 64)).save(tmp_path / "data" / "real" / "face.png")
    assert main(common) == 1
    assert "--as faces or --as videos" in capsys.readouterr().err
    assert main([*common, "--as", "faces", "--frames", "4"]) == 2
    assert "--frames is for videos" in capsys.readouterr().err
    assert main([*common, "--as", "videos", "--split", "test"]) == 2
    assert "no video is in the split test; there are no splits" in capsys.readouterr().err
