"""Model files are recognised and their configuration is read before Keras sees it."""

from __future__ import annotations

import json
import warnings
import zipfile
import zlib
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from redeepfake_nb import ModelIncomplete, NotAModel, Preprocessing, UnsafeModel, load_model
from redeepfake_nb.models.serialization import archive as archive_module
from redeepfake_nb.models.serialization.archive import model_format, read_config

HDF5 = b"\x89HDF\r\n\x1a\n"


def archive(path: Path, config: object, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", config if isinstance(config, (str, bytes)) else json.dumps(config))
        for name, data in members.items():
            file.writestr(name, data)
    return path


# ------------------------------------------------------------------ what kind of file


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("m.keras", b"PK\x03\x04...", "keras"),
        ("m.h5", HDF5, "hdf5"),
        ("m.hdf5", HDF5, "hdf5"),
    ],
)
def test_formats_by_first_bytes(tmp_path: Path, name: str, data: bytes, kind: str) -> None:
    (tmp_path / name).write_bytes(data)
    assert model_format(tmp_path / name) == kind


@pytest.mark.parametrize("name", ["m.keras", "model", "m.zip"])
def test_suffix_must_match_the_content(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(HDF5)
    with pytest.raises(NotAModel, match=r"its name is not.*Rename it to end in \.h5"):
        model_format(tmp_path / name)


@pytest.mark.parametrize("name", ["m.h5", "model", "m.zip"])
def test_archives_have_their_suffix(tmp_path: Path, name: str) -> None:
    archive(tmp_path / name, {})
    with pytest.raises(NotAModel, match=r"its name is not.*Rename it to end in \.keras"):
        model_format(tmp_path / name)


def test_file_valid_in_two_formats_is_refused(tmp_path: Path) -> None:
    """HDF5 with a harmless configuration in front, an archive behind: Keras would read the archive."""
    front, back = tmp_path / "front.h5", tmp_path / "back.keras"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(1)]).save(front)
    archive(back, {"class_name": "Lambda"})
    both = tmp_path / "both.keras"
    both.write_bytes(front.read_bytes() + back.read_bytes())
    assert zipfile.is_zipfile(both)
    with pytest.raises(NotAModel, match="its name is not"):
        load_model(both, preprocessing=Preprocessing(input_size=8), positive_class="fake")


# ------------------------------------------------------------------ damaged configurations


@pytest.mark.parametrize("config", ["", "{", "[1]", "3", "null", b"\xff\xfe\x00", "[" * 200_000])
def test_damaged_configuration(tmp_path: Path, config: str | bytes) -> None:
    with pytest.raises(NotAModel, match="its configuration"):
        read_config(archive(tmp_path / "m.keras", config))


@pytest.mark.parametrize(
    "value", [3, np.zeros(2), h5py.Empty("S1"), "{"], ids=["number", "array", "empty", "cut"]
)
def test_damaged_configuration_of_hdf5(tmp_path: Path, value: object) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = value
    with pytest.raises(NotAModel, match="its configuration"):
        read_config(tmp_path / "m.h5")


def test_a_reference_is_no_configuration(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs.create("model_config", file.ref, dtype=h5py.ref_dtype)
    with pytest.raises(NotAModel, match="its configuration is damaged"):
        read_config(tmp_path / "m.h5")


def test_hdf5_without_a_configuration(tmp_path: Path) -> None:
    h5py.File(tmp_path / "m.h5", "w").close()
    with pytest.raises(ModelIncomplete, match="no architecture"):
        read_config(tmp_path / "m.h5")


@pytest.mark.parametrize(
    "place", [("flag_bits", 1), ("compress_type", 99)], ids=["encrypted", "unknown packing"]
)
def test_archives_that_cannot_be_unpacked(
    tmp_path: Path, place: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive(tmp_path / "m.keras", {"class_name": "Sequential"})
    listed = zipfile.ZipFile.infolist

    def altered(self: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
        for info in listed(self):
            setattr(info, *place)
        return listed(self)

    monkeypatch.setattr(zipfile.ZipFile, "infolist", altered)
    with pytest.raises(NotAModel, match="damaged or cut short"):
        read_config(path)


def test_archives_that_unpack_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path / "m.keras", {"class_name": "Sequential"}, weights=bytes(1000))
    assert read_config(path) == {"class_name": "Sequential"}
    monkeypatch.setattr(archive_module, "MAX_UNPACKED_BYTES", 1000)
    with pytest.raises(UnsafeModel, match="unpacks to more than"):
        read_config(path)
    monkeypatch.undo()
    monkeypatch.setattr(archive_module, "MAX_CONFIG_BYTES", 10)
    with pytest.raises(UnsafeModel, match="its configuration is larger than"):
        read_config(path)


def test_optimizer_of_an_archive_is_not_read(tmp_path: Path) -> None:
    """Keras does not load it either; a loss of somebody's own is no reason to refuse the network."""
    path = archive(
        tmp_path / "m.keras", {"class_name": "Sequential", "compile_config": {"class_name": "my>loss"}}
    )
    assert read_config(path) == {"class_name": "Sequential"}


def test_compressed_weights_are_the_same_and_smaller(tmp_path: Path) -> None:
    """Rounded weights compress better byte by byte of their numbers; the same weights give the same file."""
    image = keras.Input((400,))
    model = keras.Model(image, keras.layers.Dense(1000, name="wide")(image))
    rng = np.random.default_rng(0)
    kernel = np.round(rng.normal(0, 0.1, (400, 1000)) * 2048).astype(np.float32) / 2048
    model.get_layer("wide").set_weights([kernel, np.zeros(1000, np.float32)])
    sizes = []
    for name in ("one.keras", "other.keras"):
        model.save(tmp_path / name)
        with zipfile.ZipFile(tmp_path / name) as plain:
            sizes.append(len(zlib.compress(plain.read(archive_module.WEIGHTS), 9)))
        archive_module.compress(tmp_path / name)
    one, other = ((tmp_path / name).read_bytes() for name in ("one.keras", "other.keras"))
    assert one == other
    assert len(one) < 0.97 * sizes[0]
    np.testing.assert_array_equal(
        keras.saving.load_model(tmp_path / "one.keras").get_layer("wide").get_weights()[0], kernel
    )
