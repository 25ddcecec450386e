"""Reading the three layouts, unreadable files, and splits that keep groups together."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from redeepfake_nb import EmptyFile, InputError, UnsupportedMedia
from redeepfake_nb.datasets.labelled_faces import (
    BOX,
    COLUMNS,
    LabelledFaces,
    read_faces,
    split,
)


def picture(path: Path, level: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 4, 3), level, np.uint8)).save(path)


@pytest.fixture
def kaggle(tmp_path: Path) -> Path:
    rows = ["videoname,original_width,original_height,label,original"]
    for i, (label, original) in enumerate(
        [("REAL", ""), ("FAKE", "v0.mp4"), ("REAL", ""), ("FAKE", "gone.mp4")]
    ):
        rows.append(f"v{i}.mp4,100,110,{label},{original}")
        picture(tmp_path / "faces_224" / f"v{i}.jpg", 60 * i)
    (tmp_path / "metadata.csv").write_text("\n".join(rows))
    return tmp_path


def test_kaggle_layout(kaggle: Path) -> None:
    faces = read_faces(kaggle)
    assert list(faces.table.columns[:5]) == list(COLUMNS)
    assert list(faces.table["original"]) == ["v0.mp4", "v0.mp4", "v2.mp4", "gone.mp4"]
    assert list(faces.table["original_width"]) == [100] * 4
    np.testing.assert_array_equal(faces.y, [0, 1, 0, 1])
    assert [int(faces.image(i).mean()) for i in range(4)] == [0, 60, 120, 180]


def test_folder_tree(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "real" / "1.png", 10)
    picture(tmp_path / "a" / "FAKE" / "deep" / "2.png", 20)
    picture(tmp_path / "real" / "fake" / "3.png", 30)
    picture(tmp_path / "elsewhere" / "4.png", 40)
    (tmp_path / "real" / "notes.txt").write_text("no picture")
    with pytest.warns(
        UserWarning, match=r"left out, since their folders do not say what they are: elsewhere \(1\)"
    ):
        faces = read_faces(tmp_path)
    assert dict(zip(faces.table["file"], faces.table["label"], strict=True)) == {
        "a/real/1.png": "REAL",
        "a/FAKE/deep/2.png": "FAKE",
        "real/fake/3.png": "FAKE",
    }


def labels(faces: LabelledFaces) -> dict[str, str]:
    return dict(zip(faces.table["file"], faces.table["label"], strict=True))


def test_folders_that_are_not_understood_are_named(tmp_path: Path) -> None:
    picture(tmp_path / "stuff" / "2.png", 20)
    with pytest.raises(UnsupportedMedia, match=r"do not say which pictures are real or fake: stuff \(1\)"):
        read_faces(tmp_path)
    picture(tmp_path / "real" / "1.png", 10)
    picture(tmp_path / "stuff" / "df" / "3.png", 30)
    with pytest.warns(UserWarning, match=r"stuff \(1\)"):
        faces = read_faces(tmp_path)
    assert labels(faces) == {"real/1.png": "REAL", "stuff/df/3.png": "FAKE"}


def test_real_and_fake_in_a_path_come_before_other_names(tmp_path: Path) -> None:
    picture(tmp_path / "fake" / "original" / "1.png", 10)
    picture(tmp_path / "original" / "2.png", 10)
    assert labels(read_faces(tmp_path)) == {"fake/original/1.png": "FAKE", "original/2.png": "REAL"}


def test_what_systems_leave_behind_are_no_faces(tmp_path: Path) -> None:
    for name in ("1.png", "._1.png", ".hidden/2.png", "Thumbs.db"):
        for folder in ("real", "fake", "__MACOSX/real"):
            (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / name).write_bytes(b"")
    assert sorted(labels(read_faces(tmp_path))) == ["fake/1.png", "real/1.png"]
    (tmp_path / "set.csv").write_text("file,label\nreal/1.png,REAL\nreal/._1.png,REAL\nfake/Thumbs.db,FAKE\n")
    assert list(labels(read_faces(tmp_path / "set.csv"))) == ["real/1.png"]


ROWS = [("faces/0001.png", "REAL"), ("faces/2, b.png", "FAKE")]


@pytest.mark.parametrize(
    "data",
    [
        b'file,label\nfaces/0001.png,REAL\n"faces/2, b.png",FAKE\n',
        b"file;label\nfaces/0001.png;real\nfaces/2, b.png;fake\n",
        b"sep=;\r\nFile;Label\r\nfaces/0001.png;real\r\nfaces/2, b.png;fake\r\n",
        b"label\tfile\textra\nREAL\tfaces/0001.png\t7\nFAKE\tfaces/2, b.png\t8\n",
        b" File ; LABEL \n faces/0001.png ; Real \n faces/2, b.png ; Fake \n",
        b"image_path|class\nfaces/0001.png|real\nfaces/2, b.png|fake\n",
        b'label,label_str,path\n1,real,faces/0001.png\n0,fake,"faces/2, b.png"\n',
        "file;label\nfaces\\0001.png;real\nfaces\\2, b.png;fake\n".encode("utf-16"),
        b"\xef\xbb\xbffile;label\n.\\faces\\0001.png;real\n.\\faces\\2, b.png;fake\n",
        b"file;label\nC:\\Users\\me\\set\\faces\\0001.png;real\nC:\\Users\\me\\set\\faces\\2, b.png;fake\n",
        b"file;label\n/home/me/set/faces/0001.png;real\n/home/me/set/faces/2, b.png;fake\n",
    ],
    ids=[
        "plain",
        "semicolons",
        "sep",
        "tabs",
        "spaces",
        "bars",
        "140k",
        "utf16",
        "bom",
        "windows",
        "absolute",
    ],
)
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_csv_files_as_people_write_them(tmp_path: Path, data: bytes, packed: bool) -> None:
    for i, (name, _) in enumerate(ROWS):
        picture(tmp_path / name, 10 + i)
    (tmp_path / "set.csv").write_bytes(data)
    if packed:
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            archive.writestr("__MACOSX/inside/faces/._0001.png", b"")
            for name, _ in ROWS:
                archive.write(tmp_path / name, f"inside/{name}")
                (tmp_path / name).unlink()
    faces = read_faces(tmp_path / "set.csv")
    assert list(labels(faces).items()) == ROWS
    assert [int(faces.image(i).max()) for i in (0, 1)] == [10, 11]


def test_one_missing_picture_on_windows_paths_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "faces" / "2.png", 10)
    (tmp_path / "set.csv").write_bytes(b"file,label\nD:\\x\\faces\\1.png,REAL\nD:\\x\\faces\\2.png,FAKE\n")
    faces = read_faces(tmp_path / "set.csv")
    assert list(faces.absent()["file"]) == ["x/faces/1.png"]
    assert faces.image(1).max() == 10


def test_missing_columns_say_which_there_are(tmp_path: Path) -> None:
    (tmp_path / "set.csv").write_text("a;b\n1;2\n")
    with pytest.raises(UnsupportedMedia, match="columns file, label are missing; it has a, b"):
        read_faces(tmp_path / "set.csv")


def test_crops_of_faceforensics(tmp_path: Path) -> None:
    manipulated, genuine = tmp_path / "manipulated_sequences", tmp_path / "original_sequences"
    picture(manipulated / "Deepfakes" / "c23" / "faces" / "000_003" / "0001.png", 1)
    picture(manipulated / "Face2Face" / "c40" / "000_003_17.png", 2)
    picture(manipulated / "DeepFakeDetection" / "c23" / "01_02__hugging__YVGY8LOK_3.png", 3)
    picture(genuine / "youtube" / "c23" / "faces" / "000" / "0001.png", 4)
    picture(genuine / "actors" / "raw" / "01__hugging_12.png", 5)
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "test.json").write_text('[["000", "003"]]')
    table = read_faces(tmp_path).table
    assert list(table["label"]) == ["FAKE", "FAKE", "FAKE", "REAL", "REAL"]
    assert list(table["original"]) == ["01__hugging", "000", "000", "01__hugging", "000"]
    assert list(table["kind"][:3]) == ["swapped", "swapped", "reenacted"]
    assert list(table["source"]) == ["actors c23", "youtube c23", "youtube c40", "actors raw", "youtube c23"]
    assert list(table["split"].fillna("")) == ["", "test", "test", "", "test"]


def test_crops_of_celeb_df(tmp_path: Path) -> None:
    for name in (
        "Celeb-synthesis/id0_id1_0007/3.png",
        "Celeb-real/id0_0007_12.png",
        "YouTube-real/00170/0.png",
    ):
        picture(tmp_path / "224" / name, 1)
    table = read_faces(tmp_path).table
    assert list(table["label"]) == ["REAL", "FAKE", "REAL"]
    assert list(table["original"]) == ["id0_0007", "id0_0007", "YouTube 00170"]
    assert list(table["identity"]) == ["id0", "id0", "YouTube 00170"]


@pytest.mark.parametrize(
    "name", ["part/{}.png", "part/{}_12.png", "part/{}_frame_3_0.png", "part/{}/001.png"]
)
def test_crops_of_dfdc(tmp_path: Path, name: str) -> None:
    entries = '"abc.mp4": {"label": "FAKE", "original": "xyz.mp4"}, "xyz.mp4": {"label": "REAL"}'
    for video in ("abc", "xyz"):
        picture(tmp_path / name.format(video), 1)
    (tmp_path / "part" / "metadata.json").write_text(f"{{{entries}}}")
    table = read_faces(tmp_path).table
    assert list(table["label"]) == ["FAKE", "REAL"]
    assert list(table["original"]) == ["xyz.mp4", "xyz.mp4"]


def test_140k_real_and_fake_faces(tmp_path: Path) -> None:
    for part in ("train", "valid", "test"):
        for label in ("real", "fake"):
            picture(tmp_path / "real_vs_fake" / "real-vs-fake" / part / label / f"{part}.jpg", 1)
    table = read_faces(tmp_path).table
    assert list(table["label"]) == ["FAKE", "REAL"] * 3
    assert list(table["split"]) == ["test", "test", "train", "train", "val", "val"]
    assert list(table["generator"][:2].fillna("")) == ["StyleGAN", ""]


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_csv_beside_its_pictures(tmp_path: Path, packed: bool) -> None:
    picture(tmp_path / "1.png", 10)
    picture(tmp_path / "2.png", 20)
    (tmp_path / "set.csv").write_text("file,label,extra\n1.png,real,7\n2.png,Fake,8\n")
    if packed:
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            for name in ("1.png", "2.png"):
                archive.write(tmp_path / name, f"inside/{name}")
                (tmp_path / name).unlink()
    faces = read_faces(tmp_path / "set.csv")
    assert list(faces.table["label"]) == ["REAL", "FAKE"]
    assert list(faces.table["extra"]) == [7, 8]
    assert [faces.image(i).max() for i in (0, 1)] == [10, 20]
    assert faces.take([1]).image(0).max() == 20


def test_a_real_face_of_a_csv_is_its_own_original(tmp_path: Path) -> None:
    for i in range(2):
        picture(tmp_path / f"r{i}.png", 10)
    (tmp_path / "set.csv").write_text(
        "file,label,original\nr0.png,REAL,\nr1.png,REAL,\nr1.png,FAKE,r1.mp4\nr0.png,FAKE,r0\n"
    )
    faces = read_faces(tmp_path / "set.csv")
    assert faces.table["original"].tolist() == ["r0.png", "r1.png", "r1.png", "r0.png"]


def test_unreadable_data_sets_raise(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedMedia, match="neither a folder nor a CSV"):
        read_faces(tmp_path / "absent")
    with pytest.raises(EmptyFile, match="no face is listed"):
        read_faces(tmp_path)
    (tmp_path / "set.csv").write_text("name,label\n1.png,REAL\n")
    with pytest.raises(UnsupportedMedia, match="columns file are missing"):
        read_faces(tmp_path / "set.csv")
    (tmp_path / "set.csv").write_text("file,label\n1.png,maybe\n")
    with pytest.raises(UnsupportedMedia, match="REAL or FAKE, not MAYBE"):
        read_faces(tmp_path / "set.csv")
    (tmp_path / "set.csv").write_text("file,label\n1.png,REAL\n")
    (tmp_path / "set.zip").write_bytes(b"no zip")
    with pytest.raises(InputError, match="cannot be read"):
        read_faces(tmp_path / "set.csv")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cannot be read as a CSV"),
        (b"\xff\xfe\x00\x00", "cannot be read as a CSV"),
        (b'file,label\na.png,"REAL\n', "cannot be read as a CSV"),
        (b"file,label\na.png,REAL\n,FAKE\n", "1 rows have no file"),
        (b"file,label\na.png,\n", "1 rows have no label"),
        (b"file,label\n", "no face is listed"),
    ],
    ids=["empty", "binary", "cut", "no file", "no label", "no rows"],
)
def test_invalid_csv_files(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "set.csv").write_bytes(data)
    with pytest.raises(InputError, match=message):
        read_faces(tmp_path / "set.csv")


def test_a_kaggle_table_without_its_columns(kaggle: Path) -> None:
    (kaggle / "metadata.csv").write_text("name,label\nv0.mp4,REAL\n")
    with pytest.raises(UnsupportedMedia, match="columns original, videoname are missing"):
        read_faces(kaggle)


def test_unreadable_pictures_are_listed(kaggle: Path) -> None:
    (kaggle / "faces_224" / "v1.jpg").write_bytes(b"")
    (kaggle / "faces_224" / "v2.jpg").unlink()
    found = read_faces(kaggle).unreadable()
    assert list(found["file"]) == ["v1.jpg", "v2.jpg"]
    assert list(found["error"]) == ["EmptyFile", "InputError"]
    assert list(found.index) == [1, 2]
    assert list(read_faces(kaggle).without(found).table["file"]) == ["v0.jpg", "v3.jpg"]


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_missing_pictures_are_named(tmp_path: Path, packed: bool) -> None:
    for name in ("1.png", "2.png", "3.png"):
        picture(tmp_path / name, 10)
    (tmp_path / "2.png").write_bytes(b"")
    (tmp_path / "3.png").write_bytes(b"no picture")
    (tmp_path / "set.csv").write_text("file,label\n1.png,real\n2.png,fake\n3.png,fake\n4.png,real\n")
    if packed:
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            for name in ("1.png", "2.png", "3.png"):
                archive.write(tmp_path / name, f"inside/{name}")
    faces = read_faces(tmp_path / "set.csv")
    with pytest.raises(InputError, match=r"^4\.png: the picture is not in ") as caught:
        faces.image(3)
    assert str(tmp_path) not in str(caught.value)
    with pytest.raises(InputError, match=r"^3\.png: "):
        faces.image(2)
    assert list(faces.unreadable()["file"]) == ["2.png", "3.png", "4.png"]
    # Damage inside a file is found by decoding only.
    assert list(faces.absent()["file"]) == ["2.png", "4.png"]
    assert list(faces.absent()["error"]) == ["EmptyFile", "InputError"]


def test_a_damaged_zip_member_is_named(tmp_path: Path) -> None:
    """One byte of the stored picture is turned over, so that its checksum is wrong."""
    picture(tmp_path / "1.png", 10)
    (tmp_path / "set.csv").write_text("file,label\n1.png,real\n")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.write(tmp_path / "1.png", "1.png")
    data = bytearray((tmp_path / "set.zip").read_bytes())
    data[data.index(b"IDAT") + 6] ^= 255
    (tmp_path / "set.zip").write_bytes(data)
    with pytest.raises(InputError, match=r"^1\.png: the picture cannot be read \(Bad CRC-32"):
        read_faces(tmp_path / "set.csv").image(0)


def people(count: int, each: int) -> LabelledFaces:
    n = count * each
    table = pd.DataFrame(
        {
            "file": [f"{i}.png" for i in range(n)],
            "label": ["REAL", "FAKE"] * (n // 2),
            "original": [f"v{i // 2}" for i in range(n)],
            "identity": [i // each for i in range(n)],
            "split": None,
        }
    )
    return LabelledFaces(table, Path("nowhere"))


def sides(faces: LabelledFaces, column: str) -> pd.Series:
    return faces.table.groupby(column)["split"].nunique()


@pytest.mark.parametrize("by", ["identity", "original"])
def test_groups_stay_on_one_side(by: str) -> None:
    whole = split(people(50, 6), by)
    assert sides(whole, by).max() == 1
    counts = whole.table.groupby("split")[by].nunique() / whole.table[by].nunique()
    assert counts["train"] == pytest.approx(0.8, abs=0.01)
    assert set(counts.index) == {"train", "val", "test"}


def test_a_random_split_leaks_and_warns() -> None:
    with pytest.warns(UserWarning, match="same people and videos into several splits"):
        leaky = split(people(50, 6), "random")
    assert sides(leaky, "identity").max() > 1


@pytest.mark.parametrize("count", [3, 4, 5, 7])
def test_a_few_people_are_spread_over_all_splits(count: int) -> None:
    assert set(split(people(count, 2)).table["split"]) == {"train", "val", "test"}


def test_fewer_groups_than_splits_fill_the_largest_first() -> None:
    assert set(split(people(2, 2)).table["split"]) == {"train"}


def test_splits_are_reproducible() -> None:
    one, same, other = (split(people(30, 4), seed=s).table["split"] for s in (1, 1, 2))
    assert one.equals(same)
    assert not one.equals(other)


def test_a_group_must_be_known_and_shares_add_up() -> None:
    faces = people(4, 2)
    faces.table["identity"] = None
    with pytest.raises(ValueError, match="8 faces have no identity"):
        split(faces, "identity")
    with pytest.raises(ValueError, match="add up to 1"):
        split(people(4, 2), shares={"train": 0.5, "val": 0.1})


def test_parts_are_rows_of_one_split() -> None:
    faces = split(people(20, 2))
    assert len(faces.part("train")) + len(faces.part("val")) + len(faces.part("test")) == 40
    assert set(faces.part("val").table["split"]) == {"val"}


def boxed(folder: Path, *box: float) -> LabelledFaces:
    """One picture of 6 x 4 px whose red channel counts columns and green channel rows, with a listed box."""
    rows, columns = np.mgrid[:4, :6]
    picture = np.stack([columns, rows, np.zeros_like(rows)], axis=2).astype(np.uint8)
    Image.fromarray(picture).save(folder / "a.png")
    table = pd.DataFrame([["a.png", "REAL", *box]], columns=["file", "label", *BOX])
    table.to_csv(folder / "faces.csv", index=False)
    return read_faces(folder / "faces.csv")


@pytest.mark.parametrize(
    ("box", "columns", "rows"),
    [
        ((1, 1, 3, 4), [1, 2], [1, 2, 3]),
        ((-2, -1, 2, 2), [0, 1], [0, 1]),  # cut off by the picture's edge
        ((4, 2, 9, 9), [4, 5], [2, 3]),
        ((np.nan,) * 4, list(range(6)), list(range(4))),  # no box is known
    ],
)
def test_a_listed_box_is_cut_out(tmp_path: Path, box, columns, rows) -> None:
    face = boxed(tmp_path, *box).image(0)
    assert face[0, :, 0].tolist() == columns
    assert face[:, 0, 1].tolist() == rows
    assert face.flags.c_contiguous


def test_boxes_of_faces(tmp_path: Path) -> None:
    np.testing.assert_array_equal(boxed(tmp_path, 1, 1, 3, 4).boxes, [[1, 1, 3, 4]])
    np.testing.assert_array_equal(boxed(tmp_path, *[np.nan] * 4).boxes, np.full((1, 4), np.nan))
    np.testing.assert_array_equal(people(2, 1).boxes, np.full((2, 4), np.nan))


def test_faces_of_a_zip_file_can_be_sent_to_another_process(tmp_path: Path) -> None:
    boxed(tmp_path, 1, 1, 3, 4)
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        archive.write(tmp_path / "a.png", "a.png")
    (tmp_path / "a.png").unlink()
    faces = read_faces(tmp_path / "faces.csv")
    expected = faces.image(0)  # opens the archive, which cannot be sent
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(faces)).image(0), expected)


@pytest.mark.parametrize("box", [(3, 1, 3, 2), (4, 3, 2, 4), (7, 1, 9, 3), (-5, 0, -1, 3)])
def test_a_box_without_pixels_is_refused(tmp_path: Path, box) -> None:
    with pytest.raises(InputError, match=r"a\.png.*holds no pixel of the 6 x 4 picture"):
        boxed(tmp_path, *box).image(0)


@pytest.mark.parametrize(
    "csv",
    [
        "file,label,left,top,right\na.png,REAL,0,0,1\n",  # a column is missing
        "file,label,left,top,right,bottom\na.png,REAL,0,0,1,\n",  # a number is missing
        "file,label,left,top,right,bottom\na.png,REAL,0,0,1,low\n",
        "file,label,left,top,right,bottom\na.png,REAL,0,0,1,inf\n",
    ],
)
def test_incomplete_boxes_are_refused(tmp_path: Path, csv: str) -> None:
    picture(tmp_path / "a.png", 0)
    (tmp_path / "faces.csv").write_text(csv)
    with pytest.raises(UnsupportedMedia, match="each row needs four numbers, or none"):
        read_faces(tmp_path / "faces.csv")


def test_unknown_kinds_of_fakes_are_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 0)
    (tmp_path / "faces.csv").write_text("file,label,kind\na.png,FAKE,painted\n")
    with pytest.raises(UnsupportedMedia, match="must be generated, swapped, reenacted, edited, not painted"):
        read_faces(tmp_path / "faces.csv")
    (tmp_path / "faces.csv").write_text("file,label,kind\na.png,FAKE,edited\na.png,REAL,\n")
    assert read_faces(tmp_path / "faces.csv").table["kind"].iloc[0] == "edited"
