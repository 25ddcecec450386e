"""Malicious and malformed model files, each with the errors that it may cause."""

from __future__ import annotations

import base64
import copy
import io
import json
import marshal
import os
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

Maker = Callable[[Path], Path]
# Name -> (function that makes the file, names of the accepted errors).
CASES: dict[str, tuple[Maker, tuple[str, ...]]] = {}


def case(*errors: str, name: str = "") -> Callable[[Maker], Maker]:
    def enter(maker: Maker) -> Maker:
        CASES[name or maker.__name__.replace("_", " ")] = (maker, errors)
        return maker

    return enter


def good_model() -> keras.Model:
    """Build the valid model that the files are derived from: 8 px, one sigmoid."""
    layers = keras.layers
    image = keras.Input((8, 8, 3), name="face")
    x = layers.Conv2D(4, 3, name="conv")(image)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    return keras.Model(image, layers.Dense(1, activation="sigmoid", name="out")(x), name="good")


def good_archive(folder: Path) -> Path:
    path = folder / "good.keras"
    if not path.exists():
        good_model().save(path)
    return path


def good_hdf5(folder: Path) -> Path:
    path = folder / "good.h5"
    if not path.exists():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            good_model().save(path)
    return path


def archive(folder: Path, name: str, change: Callable[[dict], Any] = lambda parts: None) -> Path:
    """Copy the valid archive with changed members (name -> bytes; the configuration as a dict)."""
    with zipfile.ZipFile(good_archive(folder)) as file:
        parts: dict[str, Any] = {member: file.read(member) for member in file.namelist()}
    parts["config.json"] = json.loads(parts["config.json"])
    change(parts)
    path = folder / f"{name}.keras"
    with zipfile.ZipFile(path, "w") as file:
        for member, data in parts.items():
            data = json.dumps(data) if isinstance(data, (dict, list)) else data
            file.writestr(member, data, zipfile.ZIP_DEFLATED)
    return path


def hdf5(folder: Path, name: str, change: Callable[[h5py.File], Any]) -> Path:
    path = folder / f"{name}.h5"
    path.write_bytes(good_hdf5(folder).read_bytes())
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def weights_changed(folder: Path, name: str, change: Callable[[h5py.File], Any]) -> Path:
    """Copy the valid archive with a changed weights file."""

    def swap(parts: dict) -> None:
        buffer = io.BytesIO(parts["model.weights.h5"])
        with h5py.File(buffer, "r+") as file:
            change(file)
        parts["model.weights.h5"] = buffer.getvalue()

    return archive(folder, name, swap)


def layer_of(parts: dict, name: str) -> dict:
    return next(layer for layer in parts["config.json"]["config"]["layers"] if layer["name"] == name)


def with_layer(folder: Path, name: str, **changes: Any) -> Path:
    return archive(folder, name, lambda parts: layer_of(parts, "conv").update(changes))


def with_setting(folder: Path, name: str, layer: str = "conv", **changes: Any) -> Path:
    return archive(folder, name, lambda parts: layer_of(parts, layer)["config"].update(changes))


def marker_code(folder: Path) -> str:
    """Marshal code that creates the file ``ran`` when it is called."""
    source = f"lambda x: (open({str(folder / 'ran')!r}, 'w').close(), x)[1]"
    function = eval(source)
    return base64.b64encode(marshal.dumps(function.__code__)).decode()


def keras2_config(*layers: dict) -> dict:
    """Make the configuration of a Keras 2 Sequential with an input of 8 px."""
    first = {
        "class_name": "InputLayer",
        "config": {"name": "face", "batch_input_shape": [None, 8, 8, 3], "dtype": "float32"},
    }
    return {"class_name": "Sequential", "config": {"name": "old", "layers": [first, *layers]}}


def keras2_layer(class_name: str, **config: Any) -> dict:
    return {"class_name": class_name, "config": {"name": class_name.lower(), **config}}


def keras2_file(folder: Path, name: str, config: Any, **arrays: np.ndarray) -> Path:
    """Write a full ``.h5`` model of Keras 2.15; arrays are named ``<layer>__<variable>``."""
    path = folder / f"{name}.h5"
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = "2.15.0"
        file.attrs["backend"] = "tensorflow"
        file.attrs["model_config"] = config if isinstance(config, (str, bytes)) else json.dumps(config)
        group = file.create_group("model_weights")
        for full, array in arrays.items():
            layer, variable = full.split("__")
            group.create_dataset(f"{layer}/{layer}/{variable}:0", data=array)
    return path


# ------------------------------------------------------------------ other files


@case("NotAModel")
def lfs_pointer(folder: Path) -> Path:
    (folder / "pointer.h5").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    return folder / "pointer.h5"


@case("NotAModel")
def web_page(folder: Path) -> Path:
    (folder / "page.keras").write_text("<!doctype html><title>404</title>")
    return folder / "page.keras"


@case("NotAModel")
def empty(folder: Path) -> Path:
    (folder / "empty.h5").touch()
    return folder / "empty.h5"


@case("NotAModel")
def pickle_under_a_models_name(folder: Path) -> Path:
    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(folder / "ran"),)

    (folder / "pickle.h5").write_bytes(pickle.dumps(Harm()))
    return folder / "pickle.h5"


@case("NotAModel")
def saved_model_folder(folder: Path) -> Path:
    (folder / "saved").mkdir(exist_ok=True)
    (folder / "saved" / "saved_model.pb").write_bytes(b"\x08\x01")
    return folder / "saved"


@case("NotAModel")
def frozen_graph(folder: Path) -> Path:
    (folder / "graph.pb").write_bytes(b"\n\x10\n\x04face")
    return folder / "graph.pb"


@case("NotAModel")
def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.h5")
    return folder / "pipe.h5"


@case("ModelIncomplete")
def symlinks_in_a_circle(folder: Path) -> Path:
    (folder / "a.keras").symlink_to(folder / "b.keras")
    (folder / "b.keras").symlink_to(folder / "a.keras")
    return folder / "a.keras"


@case("ModelIncomplete")
def path_too_long(folder: Path) -> Path:
    return folder / ("x" * 5000 + ".keras")


@case("ModelIncomplete")
def name_with_a_nul(folder: Path) -> Path:
    return folder / "a\0b.keras"


@case("NotAModel")
def device(folder: Path) -> Path:
    return Path("/dev/zero")


# ------------------------------------------------------------------ archives


@case("UnsafeModel")
def zip_bomb(folder: Path) -> Path:
    path = folder / "bomb.keras"
    block = bytes(2**20)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("config.json", "{}")
        with file.open("model.weights.h5", "w", force_zip64=True) as member:
            for _ in range(300):
                member.write(block)
    return path


@case("UnsafeModel")
def archive_with_a_huge_configuration(folder: Path) -> Path:
    path = folder / "bigconfig.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("config.json", b" " * (40 * 2**20))
    return path


@case("NotAModel", "UnsafeModel")
def archive_with_a_wrong_size(folder: Path) -> Path:
    path = archive(folder, "liar")
    data = bytearray(path.read_bytes())
    at = data.rfind(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 2**31)
    path.write_bytes(data)
    return path


@case("UnsafeModel")
def archive_with_a_path_traversal(folder: Path) -> Path:
    return archive(folder, "way", lambda parts: parts.update({"../../ran": b"x"}))


@case("UnsafeModel")
def archive_with_an_absolute_path(folder: Path) -> Path:
    return archive(folder, "absolute", lambda parts: parts.update({f"{folder}/ran": b"x"}))


@case("UnsafeModel")
def archive_with_two_configurations(folder: Path) -> Path:
    path = archive(folder, "two")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(path, "a") as file:
            file.writestr("config.json", json.dumps({"class_name": "Lambda"}))
    return path


@case("UnsafeModel")
def archive_with_a_symlink(folder: Path) -> Path:
    path = archive(folder, "link")
    info = zipfile.ZipInfo("model.weights.h5.link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(info, "/etc/passwd")
    return path


@case("ModelIncomplete")
def archive_without_weights(folder: Path) -> Path:
    return archive(folder, "weightless", lambda parts: parts.pop("model.weights.h5"))


@case("NotAModel")
def archive_whose_weights_are_noise(folder: Path) -> Path:
    return archive(folder, "noise", lambda parts: parts.update({"model.weights.h5": b"\x89HDF" + bytes(99)}))


@case("NotAModel")
def archive_without_a_configuration(folder: Path) -> Path:
    return archive(folder, "bare", lambda parts: parts.pop("config.json"))


def _cut(share: float) -> tuple[Maker, Maker]:
    def keras_file(folder: Path) -> Path:
        data = good_archive(folder).read_bytes()
        path = folder / f"cut{share}.keras"
        path.write_bytes(data[: int(len(data) * share)])
        return path

    def hdf5_file(folder: Path) -> Path:
        data = good_hdf5(folder).read_bytes()
        path = folder / f"cut{share}.h5"
        path.write_bytes(data[: int(len(data) * share)])
        return path

    return keras_file, hdf5_file


for _share in (0.01, 0.2, 0.5, 0.9, 0.99):
    for _maker, _kind in zip(_cut(_share), ("archive", "HDF5 file"), strict=True):
        case("NotAModel", "ModelIncomplete", name=f"{_kind} cut at {_share}")(_maker)


# ------------------------------------------------------------------ HDF5


@case("UnsafeModel")
def external_link(folder: Path) -> Path:
    def change(file: h5py.File) -> None:
        del file["model_weights/out"]
        file["model_weights/out"] = h5py.ExternalLink("/etc/other.h5", "/secret")

    return hdf5(folder, "external", change)


@case("UnsafeModel")
def external_link_in_an_archive(folder: Path) -> Path:
    def change(file: h5py.File) -> None:
        file["layers/other"] = h5py.ExternalLink("/etc/other.h5", "/secret")

    return weights_changed(folder, "external_archive", change)


@case("UnsafeModel")
def external_dataset(folder: Path) -> Path:
    (folder / "raw").write_bytes(bytes(64))

    def change(file: h5py.File) -> None:
        file.create_dataset("model_weights/raw", (4,), "f4", external=[(str(folder / "raw"), 0, 16)])

    return hdf5(folder, "rawdata", change)


@case("UnsafeModel")
def virtual_dataset(folder: Path) -> Path:
    def change(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((4,), "f4")
        layout[:] = h5py.VirtualSource(str(folder / "x.h5"), "secret", (4,))
        file.create_virtual_dataset("model_weights/virtual", layout)

    return hdf5(folder, "virtual", change)


@case("UnsafeModel")
def soft_link(folder: Path) -> Path:
    return hdf5(folder, "soft", lambda f: f.__setitem__("model_weights/a", h5py.SoftLink("/model_weights/a")))


@case("UnsafeModel")
def group_that_contains_itself(folder: Path) -> Path:
    return hdf5(folder, "loop", lambda f: f["model_weights"].__setitem__("again", f["model_weights"]))


@case("UnsafeModel")
def deeply_nested_groups(folder: Path) -> Path:
    return hdf5(folder, "deep", lambda f: f.create_group("model_weights/" + "/".join("x" * 200)))


@case("UnsafeModel")
def dataset_that_claims_terabytes(folder: Path) -> Path:
    return hdf5(folder, "claim", lambda f: f.create_dataset("model_weights/big", (2**40,), "f4"))


@case("UnsafeModel")
def highly_compressed_dataset(folder: Path) -> Path:
    def change(file: h5py.File) -> None:
        file.create_dataset(
            "model_weights/packed", data=np.zeros(2**24, "f4"), compression="gzip", chunks=(2**20,)
        )

    return hdf5(folder, "packed", change)


@case("UnsafeModel")
def dataset_with_a_plugin_filter(folder: Path) -> Path:
    def change(file: h5py.File) -> None:
        file.create_dataset("model_weights/lzf", data=np.zeros(4096, "f4"), compression="lzf")

    return hdf5(folder, "lzf", change)


@case("NotAModel", "UnsafeModel")
def configuration_that_is_an_array(folder: Path) -> Path:
    def change(file: h5py.File) -> None:
        file.attrs.create("model_config", ["{}"] * 500, dtype=h5py.string_dtype())

    return hdf5(folder, "texts", change)


@case("NotAModel")
def pickle_in_an_attribute(folder: Path) -> Path:
    return hdf5(folder, "pickled", lambda f: f.attrs.create("model_config", np.void(pickle.dumps({"a": 1}))))


@case("NotAModel")
def weights_that_are_strings(folder: Path) -> Path:
    def change(file: h5py.File) -> None:
        name = next(n for n in _datasets(file["model_weights/out"]) if "bias" in n)
        del file[name]
        file.create_dataset(name, data=np.array(["a"], h5py.string_dtype()))

    return hdf5(folder, "text", change)


@case("NotAModel")
def weights_that_are_strings_in_an_archive(folder: Path) -> Path:
    return weights_changed(folder, "text", lambda file: _as_type(file, "S8"))


@case("NotAModel")
def weights_that_are_complex(folder: Path) -> Path:
    return weights_changed(folder, "complex", lambda file: _as_type(file, "c8"))


def _as_type(file: h5py.File, dtype: str) -> None:
    for name in _datasets(file):
        values = file[name][()]
        del file[name]
        file.create_dataset(name, data=values.astype(dtype))


@case("NotAModel")
def weights_of_another_shape(folder: Path) -> Path:
    def change(file: h5py.File) -> None:
        name = next(n for n in _datasets(file["model_weights/out"]) if "kernel" in n)
        del file[name]
        file.create_dataset(name, data=np.zeros((5, 1), "f4"))

    return hdf5(folder, "shape", change)


@case("NotAModel")
def superfluous_weights(folder: Path) -> Path:
    return hdf5(folder, "left", lambda f: f.create_dataset("model_weights/out/out/other", data=np.zeros(3)))


@case("NotAModel")
def missing_weights(folder: Path) -> Path:
    return hdf5(folder, "missing", lambda f: f["model_weights"].__delitem__("out"))


@case("UnsuitableModel")
def weights_that_are_nan(folder: Path) -> Path:
    def change(file: h5py.File) -> None:
        name = next(n for n in _datasets(file["model_weights/out"]) if "bias" in n)
        file[name][...] = np.nan

    return hdf5(folder, "nan", change)


@case("NotAModel", "ModelIncomplete")
def other_hdf5(folder: Path) -> Path:
    with h5py.File(folder / "other.h5", "w") as file:
        file.create_dataset("measurements", data=np.arange(10.0))
    return folder / "other.h5"


def _datasets(group: h5py.Group) -> list[str]:
    found: list[str] = []
    group.visititems(lambda _, item: found.append(item.name) if isinstance(item, h5py.Dataset) else None)
    return found


# ------------------------------------------------------------------ configurations


@case("UnsafeModel")
def lambda_layer(folder: Path) -> Path:
    code = {
        "class_name": "__lambda__",
        "config": {"code": marker_code(folder), "defaults": None, "closure": None},
    }
    config = {"name": "conv", "function": code}
    return with_layer(folder, "lambda", class_name="Lambda", config=config)


@case("UnsafeModel")
def lambda_as_activation(folder: Path) -> Path:
    code = {
        "class_name": "__lambda__",
        "config": {"code": marker_code(folder), "defaults": None, "closure": None},
    }
    return with_setting(folder, "activation", activation=code)


@case("UnsafeModel")
def lambda_in_keras_2(folder: Path) -> Path:
    code = [marker_code(folder), None, None]
    config = keras2_config(
        keras2_layer("Lambda", function=code, function_type="lambda"), keras2_layer("Flatten")
    )
    return keras2_file(folder, "old_lambda", config)


@case("UnsafeModel")
def module_callable(folder: Path) -> Path:
    return with_layer(folder, "system", module="os", class_name="system")


@case("UnsafeModel")
def settings_function_of_keras(folder: Path) -> Path:
    function = {"module": "keras", "class_name": "function", "config": "config.set_floatx"}
    return with_setting(folder, "floatx", activation=function)


@case("UnsafeModel")
def loader_of_keras(folder: Path) -> Path:
    return with_layer(folder, "loader", module="keras.models", class_name="load_model", config="x.keras")


@case("UnsafeModel")
def downloader_of_keras(folder: Path) -> Path:
    return with_layer(folder, "getfile", module="keras.src.utils.file_utils", class_name="get_file")


@case("UnsafeModel")
def registered_name(folder: Path) -> Path:
    return with_layer(folder, "registered", class_name="Mine", module=None, registered_name="pkg>Mine")


@case("UnsafeModel")
def reader_of_other_files(folder: Path) -> Path:
    config = {"name": "conv", "vocabulary": "/etc/passwd"}
    return with_layer(folder, "lookup", module="keras.layers", class_name="StringLookup", config=config)


@case("UnsafeModel")
def saved_model_as_a_layer(folder: Path) -> Path:
    config = {"name": "conv", "filepath": str(folder)}
    return with_layer(folder, "tfsm", module="keras.layers", class_name="TFSMLayer", config=config)


@case("UnsafeModel")
def torch_as_a_layer(folder: Path) -> Path:
    return with_layer(folder, "torch", module="keras.layers", class_name="TorchModuleWrapper", config={})


@case("UnsafeModel")
def unknown_function_in_keras_2(folder: Path) -> Path:
    config = keras2_config()
    config["class_name"] = "Functional"
    layers = config["config"]["layers"]
    layers[0].update(name="face", inbound_nodes=[])
    node = {"name": "op", "function": "io.read_file"}
    layers.append(
        {"class_name": "TFOpLambda", "config": node, "name": "op", "inbound_nodes": [["face", 0, 0, {}]]}
    )
    config["config"].update(input_layers=[["face", 0, 0]], output_layers=[["op", 0, 0]])
    return keras2_file(folder, "old_function", config)


@case("NotAModel", "UnsafeModel")
def units_beyond_memory(folder: Path) -> Path:
    return with_setting(folder, "units", "out", units=10**9)


@case("NotAModel", "UnsafeModel")
def units_that_overflow(folder: Path) -> Path:
    return with_setting(folder, "overflow", "out", units=2**63)


@case("NotAModel", "UnsafeModel")
def negative_units(folder: Path) -> Path:
    return with_setting(folder, "negative", "out", units=-1)


@case("NotAModel", "UnsafeModel")
def units_beyond_memory_in_keras_2(folder: Path) -> Path:
    return keras2_file(
        folder, "old_units", keras2_config(keras2_layer("Flatten"), keras2_layer("Dense", units=10**9))
    )


@case("NotAModel", "UnsafeModel", "UnsuitableModel")
def feature_map_beyond_memory(folder: Path) -> Path:
    config = {"name": "mean", "size": [30000, 30000], "data_format": "channels_last"}

    def change(parts: dict) -> None:
        layer_of(parts, "mean").update(class_name="UpSampling2D", config=config)

    return archive(folder, "map", change)


@case("UnsuitableModel")
def dilation_beyond_memory(folder: Path) -> Path:
    return with_setting(folder, "spread", padding="same", dilation_rate=[10000, 10000])


@case("NotAModel", "UnsuitableModel")
def name_with_a_lone_surrogate(folder: Path) -> Path:
    def change(parts: dict) -> None:
        text = json.dumps(parts["config.json"])
        parts["config.json"] = text.replace('"norm"', '"\\ud800"').encode()

    return archive(folder, "surrogate", change)


@case("NotAModel", "UnsuitableModel")
def padding_beyond_memory(folder: Path) -> Path:
    def change(parts: dict) -> None:
        layers = parts["config.json"]["config"]["layers"]
        mean = layer_of(parts, "mean")
        pad = copy.deepcopy(mean)
        pad.update(
            class_name="ZeroPadding2D",
            name="pad",
            config={"name": "pad", "padding": [[20000, 0], [20000, 0]]},
        )
        pad.pop("build_config", None)
        mean["inbound_nodes"][0]["args"][0]["config"]["keras_history"][0] = "pad"
        layers.append(pad)

    return archive(folder, "padding", change)


@case("UnsafeModel")
def thousands_of_layers(folder: Path) -> Path:
    def change(parts: dict) -> None:
        layers = parts["config.json"]["config"]["layers"]
        for i in range(5000):
            layers.append({**copy.deepcopy(layer_of(parts, "norm")), "name": f"n{i}"})

    return archive(folder, "many", change)


@case("NotAModel")
def graph_in_a_circle(folder: Path) -> Path:
    def change(parts: dict) -> None:
        layer_of(parts, "conv")["inbound_nodes"][0]["args"][0]["config"]["keras_history"][0] = "norm"

    return archive(folder, "circle", change)


@case("NotAModel")
def two_layers_with_one_name(folder: Path) -> Path:
    def change(parts: dict) -> None:
        layer_of(parts, "norm")["name"] = "conv"

    return archive(folder, "twice", change)


@case("NotAModel", "UnsafeModel")
def deeply_nested_models(folder: Path) -> Path:
    def change(parts: dict) -> None:
        inner = parts["config.json"]
        for i in range(300):
            inner = {
                "module": "keras",
                "class_name": "Sequential",
                "config": {"name": f"s{i}", "layers": [inner]},
            }
        parts["config.json"] = inner

    return archive(folder, "russian", change)


@case("NotAModel")
def deeply_nested_json(folder: Path) -> Path:
    return archive(folder, "deeply_nested_json", lambda parts: parts.update({"config.json": b"[" * 10**6}))


@case("NotAModel")
def not_json(folder: Path) -> Path:
    return archive(
        folder, "yaml", lambda parts: parts.update({"config.json": b"class_name: !!python/object:os.system"})
    )


@case("NotAModel")
def number_too_large_for_json(folder: Path) -> Path:
    return archive(folder, "digits", lambda parts: parts.update({"config.json": b"9" * 10**6}))


@case("NotAModel")
def layer_instead_of_a_model(folder: Path) -> Path:
    def change(parts: dict) -> None:
        parts["config.json"] = layer_of(parts, "norm")

    return archive(folder, "layer", change)


@case("UnsuitableModel")
def two_outputs(folder: Path) -> Path:
    def change(parts: dict) -> None:
        parts["config.json"]["config"]["output_layers"] = [["out", 0, 0], ["mean", 0, 0]]

    return archive(folder, "outputs", change)


@case("NotAModel")
def keras_2_graph_without_its_layers(folder: Path) -> Path:
    return keras2_file(
        folder, "old_empty", {"class_name": "Functional", "config": {"name": "m", "layers": []}}
    )


@case("NotAModel")
def keras_2_configuration_of_wrong_types(folder: Path) -> Path:
    return keras2_file(folder, "old_types", keras2_config({"class_name": "Dense", "config": "units"}))


@case("UnsafeModel")
def keras_2_custom_class(folder: Path) -> Path:
    layer = {**keras2_layer("Dense", units=1), "registered_name": "Custom>Dense", "module": "mine"}
    return keras2_file(folder, "old_class", keras2_config(keras2_layer("Flatten"), layer))


@case("UnsafeModel")
def keras_2_activation_that_is_code(folder: Path) -> Path:
    layer = keras2_layer("Dense", units=1, activation="eval")
    return keras2_file(folder, "old_setting", keras2_config(keras2_layer("Flatten"), layer))
