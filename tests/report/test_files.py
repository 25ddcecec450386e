"""Saved reports: written atomically, complete, and safe against hostile names."""

from __future__ import annotations

import csv
import errno
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from helpers import video_records
from helpers.reports import make_report
from PIL import Image

from redeepfake_nb import view
from redeepfake_nb.errors import OutputError
from redeepfake_nb.media.frames import Source
from redeepfake_nb.report import files
from redeepfake_nb.report.files import save, save_all, to_csv, to_json
from redeepfake_nb.utils import writing
from redeepfake_nb.utils.writing import escape_cell, safe_name

HTML = "<img src=x onerror=alert(1)>.jpg"
FORMULA = "=cmd|' /C calc'!A0.jpg"


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def names_in(folder):
    return sorted(p.name for p in folder.iterdir())


# Names


@pytest.mark.parametrize(
    "name", ["photo.jpg", "IMG_0001.JPG", "a-b_c.1", "_x", "com10.txt", "a" * 80, "console.png"]
)
def test_safe_names_stay(name):
    assert safe_name(name) == name


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("", "picture"),
        (".", "picture"),
        ("..", "picture"),
        ("../../etc/passwd", "etc_passwd"),
        ("..\\..\\x", "x"),
        ("/root/x.jpg", "root_x.jpg"),
        (".hidden", "hidden"),
        ("-rf", "rf"),
        ("CON", "_CON"),
        ("nul.jpg", "_nul.jpg"),
        ("COM1.tar.gz", "_COM1.tar.gz"),
        (".con", "_con"),
        ("photo.jpg.", "photo.jpg"),
        ("photo ", "photo"),
        ("a:b*c?", "a_b_c"),
        ("Jürgen Straße.jpg", "Jurgen_Strae.jpg"),
        ("照片", "picture"),
        ("照片.jpg", "jpg"),
        (HTML, "img_src_x_onerror_alert_1_.jpg"),
        (FORMULA, "cmd_C_calc_A0.jpg"),
        ("two\nlines\x00", "two_lines"),
        ("x" * 300, "x" * 70),
        ("half \udc80 character", "half_character"),
    ],
)
def test_unsafe_names_change(name, start):
    safe = safe_name(name)
    assert re.fullmatch(re.escape(start) + "-[0-9a-f]{8}", safe)
    assert len(safe) <= 80
    assert safe_name(safe) == safe
    assert not writing._RESERVED.fullmatch(safe)


def test_different_names_stay_different():
    names = ["a b", "a_b", "a  b", "a/b", "照片", "写真", "x" * 100, "x" * 101]
    assert len({safe_name(n) for n in names}) == len(names)


# Cells


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "\n=x", "  =1", "＝1", "＋1", "－1", "＠x"],  # noqa: RUF001
)
def test_formulas_are_escaped(text):
    assert escape_cell(text) == "'" + text


@pytest.mark.parametrize("text", ["", "photo.jpg", "a=b", "1-2", "'=x", "x@y"])
def test_other_cells_stay(text):
    assert escape_cell(text) == text


# JSON and CSV


def test_json_is_the_report():
    report = make_report([2.0, -2.0], heat=True)
    assert json.loads(to_json(report)) == json.loads(json.dumps(report.to_dict()))


def test_json_is_safe_inside_html():
    report = make_report(name="</script>" + HTML + " & \u2028 é")
    text = to_json(report)
    assert text.isascii()
    assert not set("<>&") & set(text)
    assert json.loads(text)["source"]["name"] == report.name


def test_json_has_no_values_that_json_lacks():
    odd = {
        "nan": float("nan"),
        "inf": np.float32("-inf"),
        "int": np.int64(3),
        "float": np.float32(0.5),
        "flag": np.bool_(True),
        "array": np.arange(2),
        "path": Path("a"),
        "tuple": (1, None),
        "half \udc80": "half \udc80",
        7: "key",
    }
    settings = json.loads(to_json(make_report(settings=odd)), parse_constant=pytest.fail)["settings"]
    assert settings == {
        "nan": None,
        "inf": None,
        "int": 3,
        "float": 0.5,
        "flag": True,
        "array": [0, 1],
        "path": "a",
        "tuple": [1, None],
        "half \\udc80": "half \\udc80",
        "7": "key",
    }


def test_csv_has_one_row_per_face():
    rows = rows_of(to_csv(make_report([2.0, -2.0])))
    assert [r["face"] for r in rows] == ["1", "2"]
    assert [r["label"] for r in rows] == ["fake", "real"]
    assert [float(r["logit"]) for r in rows] == [2.0, -2.0]
    assert [r["confidence"] for r in rows] == ["", ""]
    assert float(rows[0]["probability"]) == make_report([2.0]).predictions[0].probability


def test_csv_of_several_reports_with_and_without_faces():
    text = to_csv([make_report([]), make_report([1.0], name="b.jpg"), make_report([1.0], name="c.jpg")])
    assert [r["file"] for r in rows_of(text)] == ["b.jpg", "c.jpg"]
    assert to_csv(make_report([])).splitlines() == [to_csv(make_report()).splitlines()[0]]


def test_csv_quotes_text_and_keeps_negative_numbers():
    text = to_csv(make_report([-2.0], name='=1;"+2".jpg'))
    line = text.splitlines()[1]
    assert line.startswith('"\'=1;""+2"".jpg",1,')
    assert ",-2.0," in line


def test_csv_needs_a_report():
    with pytest.raises(ValueError, match="at least one"):
        to_csv([])


# Folders


def test_save_writes_everything(tmp_path):
    report = make_report([2.0, -2.0], heat=True, margin=0.1)
    made = save(report, tmp_path / "new" / "folder")
    assert made == tmp_path / "new" / "folder" / "photo"
    assert names_in(made) == [
        "face_01.png",
        "face_01_overlay.png",
        "face_02.png",
        "face_02_overlay.png",
        "faces.csv",
        "picture_with_boxes.png",
        "report.json",
    ]
    assert names_in(made.parent) == ["photo"]
    assert (made / "report.json").read_text() == to_json(report)
    assert (made / "faces.csv").read_bytes().decode() == to_csv(report)
    for i, prediction in enumerate(report.predictions, start=1):
        with Image.open(made / f"face_{i:02d}.png") as crop:
            assert (np.asarray(crop) == prediction.face.crop(0.1)).all()
            assert crop.info == {}


def test_images_have_no_metadata(tmp_path):
    made = save(make_report(heat=True), tmp_path)
    for path in made.glob("*.png"):
        with Image.open(path) as picture:
            picture.load()
            assert set(picture.info) <= {"dpi"}, path.name
            assert not picture.getexif()


def test_save_without_faces(tmp_path):
    assert names_in(save(make_report([]), tmp_path)) == ["faces.csv", "picture_with_boxes.png", "report.json"]


@pytest.mark.parametrize("name", [HTML, FORMULA, "../../up.jpg", "$x_{.jpg", "a" * 250, "照片.jpg"])
def test_hostile_names_stay_inside_and_stay_text(name, tmp_path):
    folder = tmp_path / "out"
    made = save(make_report(name=name), folder)
    assert names_in(tmp_path) == ["out"]
    assert names_in(folder) == [made.name]
    assert json.loads((made / "report.json").read_text())["source"]["name"] == name
    assert rows_of((made / "faces.csv").read_text())[0]["file"] == escape_cell(name)


def test_earlier_reports_are_kept(tmp_path):
    made = [save(make_report([]), tmp_path).name for _ in range(3)]
    assert made == ["photo", "photo-2", "photo-3"]


def test_file_of_the_same_name_is_kept(tmp_path):
    (tmp_path / "photo").write_text("a photo")
    assert save(make_report([]), tmp_path).name == "photo-2"
    assert (tmp_path / "photo").read_text() == "a photo"


def test_overwrite_replaces_the_whole_earlier_report(tmp_path):
    save(make_report([1.0, 1.0]), tmp_path)
    made = save(make_report([1.0]), tmp_path, overwrite=True)
    assert names_in(tmp_path) == ["photo"]
    assert "face_02.png" not in names_in(made)
    assert "face_01.png" in names_in(made)


def test_files_that_differ_in_their_extension_have_folders_of_their_own(tmp_path):
    names = ("photo.jpg", "photo.png", "photo.tar.gz", "photo")
    for _ in range(2):
        made = [save(make_report([], name=name), tmp_path, overwrite=True).name for name in names]
        assert made == ["photo", "photo-2", "photo.tar", "photo-3"]
    assert len(names_in(tmp_path)) == 4


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_overwrite_keeps_folders_that_are_no_report(kind, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    precious = folder / "photo"
    if kind == "file":
        precious.write_text("precious")
    elif kind == "folder":
        precious.mkdir()
        (precious / "report.json").write_text("{}")
        (precious / "thesis.txt").write_text("precious")
    else:
        precious.symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(OutputError, match="something other than an earlier report"):
        save(make_report([]), folder, overwrite=True)
    assert names_in(folder) == ["photo"]
    assert precious.is_symlink() if kind == "link" else precious.exists()
    if kind == "folder":
        assert names_in(precious) == ["report.json", "thesis.txt"]


def test_overwrite_restores_the_earlier_report_after_a_failure(tmp_path, monkeypatch):
    old = save(make_report([1.0, 1.0]), tmp_path)
    rename = Path.rename

    def fail_once(self, target):
        if Path(target) == old and self.name == "photo":
            raise OSError(errno.EIO, "input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_once)
    with pytest.raises(OutputError, match="input/output error"):
        save(make_report([1.0]), tmp_path, overwrite=True)
    assert names_in(tmp_path) == ["photo"]
    assert "face_02.png" in names_in(old)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "no space"), "the disk is full. Free some space"),
        (PermissionError(errno.EACCES, "denied"), "writing there is not allowed. Choose a folder"),
        (OSError(errno.EROFS, "read-only"), "the file system is read-only"),
        (OSError(errno.EIO, "input/output error"), "cannot be written: input/output error"),
    ],
)
def test_a_failed_write_leaves_no_files(error, words, tmp_path, monkeypatch):
    write, count = Path.write_bytes, []

    def fail_third(self, data):
        count.append(self)
        if len(count) == 3:
            write(self, data[: len(data) // 2])
            raise error
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", fail_third)
    with pytest.raises(OutputError, match=words):
        save(make_report(), tmp_path)
    assert len(count) == 3
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("error", [RuntimeError("bug"), ValueError("bug"), KeyboardInterrupt()])
def test_other_exceptions_propagate_and_leave_no_files(error, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(view, "to_png", fail)
    with pytest.raises(type(error)):
        save(make_report(), tmp_path)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("where", ["file", "file/below", "a\0b", "x" * 300])
def test_invalid_folders(where, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError) as caught:
        save(make_report([]), tmp_path / where)
    assert caught.value.next_step
    assert names_in(tmp_path) == ["file"]


def test_folder_without_write_permission(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "denied")

    # Permissions do not apply to root, as which tests may run.
    monkeypatch.setattr(writing.tempfile, "mkdtemp", refuse)
    with pytest.raises(OutputError, match="writing there is not allowed"):
        save(make_report([]), tmp_path)


def test_name_taken_by_another_process(tmp_path, monkeypatch):
    save(make_report([]), tmp_path)
    # Another process creates a folder of that name between check and move.
    look = writing.os.path.lexists
    unseen = iter([False])
    monkeypatch.setattr(writing.os.path, "lexists", lambda path: next(unseen, True) and look(path))
    assert save(make_report([]), tmp_path).name == "photo-2"


# Several reports


def test_save_all_writes_a_summary(tmp_path):
    made = save_all([make_report([2.0, 1.0]), make_report([]), make_report(name=FORMULA)], tmp_path)
    assert [p.name for p in made] == ["photo", "photo-2", safe_name(FORMULA.removesuffix(".jpg"))]
    rows = rows_of((tmp_path / "summary.csv").read_text())
    assert [r["folder"] for r in rows] == [p.name for p in made]
    assert [r["verdict"] for r in rows] == ["fake", "inconclusive", "fake"]
    assert [r["faces"] for r in rows] == ["2", "0", "1"]
    assert float(rows[0]["highest_probability"]) == pytest.approx(0.8808, abs=1e-4)
    assert rows[1]["highest_probability"] == ""
    assert rows[1]["reasons"].startswith("no face was found")
    assert rows[2]["file"] == "'" + FORMULA
    assert {r["error"] for r in rows} == {""}
    assert len(names_in(tmp_path)) == 4


def test_save_all_keeps_an_earlier_summary(tmp_path):
    save_all([make_report([])], tmp_path)
    save_all([make_report([])], tmp_path)
    assert names_in(tmp_path) == ["photo", "photo-2", "summary-2.csv", "summary.csv"]
    save_all([make_report([])], tmp_path, overwrite=True)
    assert names_in(tmp_path) == ["photo", "photo-2", "summary-2.csv", "summary.csv"]


def test_save_all_continues_after_a_failure(tmp_path, monkeypatch):
    listed = files._files

    def fail_for_bad(report):
        if report.name == "bad.jpg":
            raise OSError(errno.ENOSPC, "no space")
        yield from listed(report)

    monkeypatch.setattr(files, "_files", fail_for_bad)
    made = save_all([make_report([], name="bad.jpg"), make_report([])], tmp_path)
    assert [p.name for p in made] == ["photo"]
    bad, good = rows_of((tmp_path / "summary.csv").read_text())
    assert "the disk is full" in bad["error"]
    assert (bad["folder"], good["folder"], good["error"]) == ("", "photo", "")
    assert names_in(tmp_path) == ["photo", "summary.csv"]


def test_save_all_without_reports_writes_an_empty_summary(tmp_path):
    assert save_all([], tmp_path) == []
    assert rows_of((tmp_path / "summary.csv").read_text()) == []


# Videos


def video_report(*, name="clip.mp4", kept=True, **extra):
    sightings = [video_records.sighting(t, 2.0 - t) for t in np.arange(0, 4, 0.5)]
    values = {"source": Source(name, "ab" * 32, "MP4", 1), "portraits": {0: video_records.portrait(0)}}
    if kept:
        values["evidence"] = (video_records.portrait(0, 2.0),)
    return video_records.report(*sightings, **{**values, **extra})


def test_save_a_video(tmp_path):
    report = video_report()
    made = save(report, tmp_path)
    assert made.name == "clip"
    assert names_in(made) == [
        "persons.png",
        "report.json",
        "sightings.csv",
        "strongest_frames.png",
        "timeline.png",
    ]
    found = json.loads((made / "report.json").read_text())
    assert found["persons"][0]["probability"] == pytest.approx(report.persons[0].probability)
    rows = rows_of((made / "sightings.csv").read_text())
    assert [float(row["time_s"]) for row in rows] == list(np.arange(0, 4, 0.5))
    assert {row["bridged"] for row in rows} == {"False"}
    for path in made.glob("*.png"):
        with Image.open(path) as picture:
            picture.load()
            assert set(picture.info) <= {"dpi"}
            assert picture.width > 300


def test_a_video_without_faces_has_no_images_of_them(tmp_path):
    report = video_records.report(times=np.array([0.0, 1.0]))
    made = save(report, tmp_path)
    assert names_in(made) == ["report.json", "sightings.csv", "timeline.png"]
    assert rows_of((made / "sightings.csv").read_text()) == []


@pytest.mark.parametrize("name", [HTML, FORMULA, "../../up.mp4"])
def test_hostile_video_names_stay_text(name, tmp_path):
    made = save(video_report(name=name, kept=False), tmp_path / "out")
    assert names_in(tmp_path) == ["out"]
    assert made.name == safe_name(name[:-4])
    assert "<" not in (made / "report.json").read_text()
    assert rows_of((made / "sightings.csv").read_text())[0]["file"] == escape_cell(name)


def test_overwrite_replaces_a_video_report_with_its_annotated_copy(tmp_path):
    first = save(video_report(), tmp_path)
    (first / "annotated.mp4").write_bytes(b"an earlier one")
    made = save(video_report(kept=False), tmp_path, overwrite=True)
    assert names_in(tmp_path) == ["clip"]
    assert names_in(made) == ["persons.png", "report.json", "sightings.csv", "timeline.png"]


def test_images_and_videos_in_one_summary(tmp_path):
    save_all([make_report(), video_report()], tmp_path)
    rows = rows_of((tmp_path / "summary.csv").read_text())
    assert [(r["file"], r["faces"]) for r in rows] == [("photo.jpg", "1"), ("clip.mp4", "1")]
    probability = video_report().persons[0].probability
    assert float(rows[1]["highest_probability"]) == pytest.approx(probability)
    assert rows[1]["source_sha256"] == "ab" * 32


def test_csv_of_images_and_videos_is_refused():
    assert to_csv([video_report(), video_report()]).count("clip.mp4") == 16
    with pytest.raises(ValueError, match="different columns"):
        to_csv([make_report(), video_report()])
