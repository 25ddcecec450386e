"""Download models by name, verify them, convert them to Keras 3, and cache the result.

The cache folder is ``REDEEPFAKE_NB_CACHE`` if that is set, else the platform's cache folder. A download is
checked by size and SHA-256 before it is opened, and is deleted after a failure.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ..errors import HashMismatch, ModelIncomplete, NotAModel, OutputError
from ..faces.preprocessing import Preprocessing
from ..utils.hashing import sha256_of
from .card import Card, sidecar_of

if TYPE_CHECKING:
    from tqdm import tqdm

CACHE_VARIABLE = "REDEEPFAKE_NB_CACHE"
KAGGLE = Path("/kaggle/input")
TIMEOUT = 30  # seconds
_MAX_FILES_SEARCHED = 200_000
_CHUNK_BYTES = 2**18


@dataclass(frozen=True)
class HubModel:
    """A published model that can be downloaded.

    Parameters
    ----------
    name
        The name that ``load_model`` takes.
    urls
        Addresses of the file, tried in this order.
    size, sha256
        The file's size in bytes and its SHA-256, hexadecimal.
    suffix
        The file's suffix, such as ``".h5"``.
    card
        Preprocessing and output as its authors state them.
    """

    name: str
    urls: tuple[str, ...]
    size: int
    sha256: str
    suffix: str
    card: Card


_REDEEPFAKE = HubModel(
    name="redeepfake-v1.3",
    urls=(
        "https://media.githubusercontent.com/media/silvermete0r/redeepfake-demo-app/main/.models/model.h5",
        "https://huggingface.co/dataflow/redeepfake/resolve/main/model.h5",
    ),
    size=142_659_864,
    sha256="fb4e1fa685eb428a175ef758cb6b80cb73632d1f8112b94404b73840ecac5ad1",
    suffix=".h5",
    card=Card(
        name="ReDeepFake",
        version="1.3",
        architecture="EfficientNetB4",
        # Its app passes OpenCV crops: boxes of dlib's HOG detector without margin.
        preprocessing=Preprocessing(input_size=224, color_order="BGR", value_range=(0, 255), margin=0),
        output="probability",
        positive_class="fake",
        licence="see github.com/silvermete0r/redeepfake-demo-app",
        training_data="its authors state accuracy 0.9022 on a random split of DFDC faces",
    ),
)
HUB_MODELS = {_REDEEPFAKE.name: _REDEEPFAKE}


def cache_folder() -> Path:
    """Return the folder for converted models; it need not exist."""
    import pooch

    return Path(os.environ.get(CACHE_VARIABLE) or pooch.os_cache("redeepfake_nb")).expanduser()


def cached_model(model: HubModel, convert: Callable[[Path, Card, Path], None]) -> Path:
    """Return the path of the converted model in the cache folder; download and convert it if it is not there.

    Processes that call this at the same time wait for the first, so there is one download.

    Parameters
    ----------
    convert
        Function of the verified original, its card, and the path to write the model with its sidecar to.

    Raises
    ------
    ModelIncomplete
        The model is not on this machine and cannot be downloaded.
    HashMismatch, NotAModel
        The download is another file.
    OutputError
        The cache folder cannot be written.
    """
    from filelock import FileLock

    folder = cache_folder()
    path = folder / f"{model.name}.keras"
    if _is_converted_from(path, model):
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{model.name}.lock"):
            if not _is_converted_from(path, model):
                for leftover in folder.glob(f".{model.name}-*"):  # of a process that was killed
                    shutil.rmtree(leftover, ignore_errors=True)
                with _original_file(model, folder) as original:
                    convert(original, model.card, path)
    except OSError as error:
        raise OutputError(
            f"the cache folder for models cannot be written ({error.strerror or error})",
            subject=folder,
            next_step=f"Set the environment variable {CACHE_VARIABLE} to a folder of yours.",
        ) from error
    return path


def _is_converted_from(path: Path, model: HubModel) -> bool:
    """Tell whether a model file and its sidecar exist and were converted from this very original."""
    try:
        values = json.loads(sidecar_of(path).read_text(encoding="utf-8"))
        return path.is_file() and values.get("converted_from") == model.sha256
    except (OSError, ValueError, AttributeError):
        return False


@contextmanager
def _original_file(model: HubModel, folder: Path) -> Iterator[Path]:
    """Yield the file as its authors published it: one on this machine, or a temporary download."""
    found = find_local_copy(model, (folder, KAGGLE))
    if found is not None:
        yield found
        return
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{model.name}-") as temporary:
        path = Path(temporary) / f"model{model.suffix}"
        _download(model, path)
        yield path


def find_local_copy(model: HubModel, folders: tuple[Path, ...]) -> Path | None:
    """Search these folders recursively for the file by size and SHA-256, whatever its name.

    A folder is given up after ``_MAX_FILES_SEARCHED`` files.
    """
    for folder in folders:
        searched = 0
        for place, _, names in os.walk(folder):
            for name in sorted(names):
                searched += 1
                path = Path(place) / name
                if path.suffix == model.suffix and _is_original(path, model):
                    return path
            if searched > _MAX_FILES_SEARCHED:
                break
    return None


def _is_original(path: Path, model: HubModel) -> bool:
    try:
        return path.is_file() and path.stat().st_size == model.size and sha256_of(path) == model.sha256
    except OSError:
        return False


def _download(model: HubModel, path: Path) -> None:
    """Download from the first address that answers with the right file."""
    failures = []
    wrong_file: HashMismatch | NotAModel | None = None
    for url in model.urls:
        try:
            _fetch(url, path, model)
            return
        except (HashMismatch, NotAModel) as error:
            wrong_file = error
            failures.append(f"{url}: {error.cause}")
        except _network_errors() as error:
            failures.append(f"{url}: {type(error).__name__}: {str(error)[:120]}")
        path.unlink(missing_ok=True)
    if wrong_file is not None:
        raise wrong_file
    raise ModelIncomplete(
        f"it is not on this machine and could not be downloaded ({'; '.join(failures)})",
        subject=model.name,
        next_step=(
            f"Go online, or get the file of {model.size:,} bytes in another way and put it into "
            f"{cache_folder()} under any name that ends in {model.suffix}."
        ),
    )


def _fetch(url: str, path: Path, model: HubModel) -> None:
    import pooch
    from tqdm.auto import tqdm

    with tqdm(desc=model.name, unit="B", unit_scale=True, disable=None) as bar, open(path, "wb") as file:
        limited = _LimitedFile(file, model)
        pooch.HTTPDownloader(progressbar=_ProgressBar(bar), chunk_size=_CHUNK_BYTES, timeout=TIMEOUT)(
            url, limited, None
        )
    size = path.stat().st_size
    if size != model.size:
        raise _wrong_size(f"{size:,} bytes", model, path.read_bytes()[:64])
    digest = sha256_of(path)
    if digest != model.sha256:
        raise HashMismatch(
            f"the download has the SHA-256 {digest[:12]}…, not {model.sha256[:12]}…",
            subject=model.name,
            next_step="Its authors may have changed the file; load it by path if you trust it.",
        )


class _LimitedFile:
    """A file that accepts no more bytes than the model has."""

    def __init__(self, file: BinaryIO, model: HubModel) -> None:
        self._file, self._model, self._written = file, model, 0

    def write(self, data: bytes) -> int:
        self._written += len(data)
        if self._written > self._model.size:
            raise _wrong_size(f"more than {self._model.size:,} bytes", self._model, b"")
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


class _ProgressBar:
    """The progress bar interface that pooch calls, drawn by tqdm."""

    def __init__(self, bar: tqdm) -> None:
        self._bar = bar
        self.total: float = 0

    def update(self, amount: int) -> None:
        self._bar.total = self.total or None
        self._bar.update(amount)

    def reset(self) -> None:
        # pooch resets a finished bar and fills it once more; this one stays full.
        self.update = lambda amount: None  # type: ignore[method-assign]

    def close(self) -> None:
        self._bar.close()


def _network_errors() -> tuple[type[BaseException], ...]:
    import requests

    return (requests.RequestException, ConnectionError, TimeoutError, ValueError)


def _wrong_size(what: str, model: HubModel, head: bytes) -> NotAModel:
    """Make the error for a download of another size; ``head`` are its first bytes."""
    if head.startswith(b"version https://git-lfs"):
        what = "a Git LFS pointer"
    elif head.lstrip()[:1] == b"<":
        what = "a web page"
    return NotAModel(
        f"the download is {what}, not the {model.size:,} bytes of the model",
        subject=model.name,
        next_step="Try again later, or get the file in another way and load it by path.",
    )
