"""Models known by name: found on this machine or downloaded once, checked, converted once, kept.

The result lies in a cache folder: ``REDEEPFAKE_NB_CACHE`` if it is set, else the platform's usual place.
What is downloaded is checked by size and SHA-256 before anything looks into it, and nothing of it stays
after a failure.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import HashMismatch, ModelIncomplete, NotAModel, OutputError
from ..faces.preprocessing import Preprocessing
from .card import Card, sidecar_of

CACHE_VARIABLE = "REDEEPFAKE_NB_CACHE"
KAGGLE = Path("/kaggle/input")
TIMEOUT = 30
_LARGEST_TREE = 200_000
_CHUNK = 2**18


@dataclass(frozen=True)
class Named:
    """A published model.

    Parameters
    ----------
    name
        What ``load_model`` is given.
    urls
        Where the file can be had, tried in this order.
    size, sha256
        Of that file; bytes, and hexadecimal.
    ending
        Of that file.
    card
        The habits it was trained with, as its authors state them.
    """

    name: str
    urls: tuple[str, ...]
    size: int
    sha256: str
    ending: str
    card: Card


_REDEEPFAKE = Named(
    name="redeepfake-v1.3",
    urls=(
        "https://media.githubusercontent.com/media/silvermete0r/redeepfake-demo-app/main/.models/model.h5",
        "https://huggingface.co/dataflow/redeepfake/resolve/main/model.h5",
    ),
    size=142_659_864,
    sha256="fb4e1fa685eb428a175ef758cb6b80cb73632d1f8112b94404b73840ecac5ad1",
    ending=".h5",
    card=Card(
        name="ReDeepFake",
        version="1.3",
        architecture="EfficientNetB4",
        # Its app feeds OpenCV crops, boxes of dlib's HOG detector without margin.
        preprocessing=Preprocessing(input_size=224, color_order="BGR", value_range=(0, 255), margin=0),
        output="probability",
        positive_class="fake",
        licence="see github.com/silvermete0r/redeepfake-demo-app",
        training_data="its authors state accuracy 0.9022 on a random split of DFDC faces",
    ),
)
NAMED = {_REDEEPFAKE.name: _REDEEPFAKE}


def cache_folder() -> Path:
    """Where named models are kept; not made here."""
    import pooch

    return Path(os.environ.get(CACHE_VARIABLE) or pooch.os_cache("redeepfake_nb")).expanduser()


def converted(named: Named, convert: Callable[[Path, Card, Path], None]) -> Path:
    """The converted model in the cache folder; it is made if it is not there yet.

    Processes that ask at the same time wait for the first, so there is one download.

    Parameters
    ----------
    convert
        Given the checked original, the card, and where to write the model with its sidecar.

    Raises
    ------
    ModelIncomplete
        It is not on this machine and cannot be downloaded.
    HashMismatch
        What was downloaded is another file.
    OutputError
        The cache folder cannot be written.
    """
    from filelock import FileLock

    folder = cache_folder()
    path = folder / f"{named.name}.keras"
    if _made_of(path, named):
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{named.name}.lock"):
            if not _made_of(path, named):
                for left in folder.glob(f".{named.name}-*"):  # of a process that was killed
                    shutil.rmtree(left, ignore_errors=True)
                with _original(named, folder) as original:
                    convert(original, named.card, path)
    except OSError as error:
        raise OutputError(
            f"the folder for models cannot be written ({error.strerror or error})",
            subject=folder,
            next_step=f"Set the environment variable {CACHE_VARIABLE} to a folder of yours.",
        ) from error
    return path


def _made_of(path: Path, named: Named) -> bool:
    """Whether a model with its sidecar was converted from this very file."""
    try:
        values = json.loads(sidecar_of(path).read_text(encoding="utf-8"))
        return path.is_file() and values.get("converted_from") == named.sha256
    except (OSError, ValueError, AttributeError):
        return False


@contextmanager
def _original(named: Named, folder: Path) -> Iterator[Path]:
    """The file as its authors published it: on this machine, or downloaded for as long as it is needed."""
    found = find_local(named, (folder, KAGGLE))
    if found is not None:
        yield found
        return
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{named.name}-") as temporary:
        path = Path(temporary) / f"model{named.ending}"
        _download(named, path)
        yield path


def find_local(named: Named, folders: tuple[Path, ...]) -> Path | None:
    """A file below these folders that is the wanted one by size and SHA-256, whatever its name."""
    for folder in folders:
        seen = 0
        for place, _, names in os.walk(folder):
            for name in sorted(names):
                seen += 1
                path = Path(place) / name
                if path.suffix == named.ending and _is(path, named):
                    return path
            if seen > _LARGEST_TREE:
                break
    return None


def _is(path: Path, named: Named) -> bool:
    try:
        return path.is_file() and path.stat().st_size == named.size and _sha256(path) == named.sha256
    except OSError:
        return False


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(named: Named, path: Path) -> None:
    """Fetch from the first address that answers with the right file."""
    failures = []
    wrong = None
    for url in named.urls:
        try:
            _fetch(url, path, named)
            return
        except (HashMismatch, NotAModel) as error:
            wrong = error
            failures.append(f"{url}: {error.cause}")
        except _failures() as error:
            failures.append(f"{url}: {type(error).__name__}: {str(error)[:120]}")
        path.unlink(missing_ok=True)
    if wrong is not None:
        raise wrong
    raise ModelIncomplete(
        f"it is not on this machine and could not be downloaded ({'; '.join(failures)})",
        subject=named.name,
        next_step=(
            f"Go online, or get the file of {named.size:,} bytes in another way and put it into "
            f"{cache_folder()} under any name that ends in {named.ending}."
        ),
    )


def _fetch(url: str, path: Path, named: Named) -> None:
    import pooch
    from tqdm.auto import tqdm

    with tqdm(desc=named.name, unit="B", unit_scale=True, disable=None) as bar, open(path, "wb") as file:
        limited = _Limited(file, named)
        pooch.HTTPDownloader(progressbar=_Progress(bar), chunk_size=_CHUNK, timeout=TIMEOUT)(
            url, limited, None
        )
    size = path.stat().st_size
    if size != named.size:
        raise _wrong_size(f"{size:,} bytes", named, path.read_bytes()[:64])
    digest = _sha256(path)
    if digest != named.sha256:
        raise HashMismatch(
            f"what was downloaded has the SHA-256 {digest[:12]}…, not {named.sha256[:12]}…",
            subject=named.name,
            next_step="Its authors may have changed the file; use it by path if you trust it.",
        )


class _Limited:
    """A file that takes no more bytes than the model has."""

    def __init__(self, file, named: Named) -> None:
        self._file, self._named, self._written = file, named, 0

    def write(self, data: bytes) -> int:
        self._written += len(data)
        if self._written > self._named.size:
            raise _wrong_size(f"more than {self._named.size:,} bytes", self._named, b"")
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


class _Progress:
    """What pooch moves forward, on a bar of tqdm."""

    def __init__(self, bar) -> None:
        self._bar = bar
        self.total: float = 0

    def update(self, amount: int) -> None:
        self._bar.total = self.total or None
        self._bar.update(amount)

    def reset(self) -> None:
        # pooch resets a finished bar and fills it once more; this one is full.
        self.update = lambda amount: None  # type: ignore[method-assign]

    def close(self) -> None:
        self._bar.close()


def _failures() -> tuple[type[BaseException], ...]:
    import requests

    return (requests.RequestException, ConnectionError, TimeoutError, ValueError)


def _wrong_size(what: str, named: Named, head: bytes) -> NotAModel:
    if head.startswith(b"version https://git-lfs"):
        what = "a Git LFS pointer"
    elif head.lstrip()[:1] == b"<":
        what = "a web page"
    return NotAModel(
        f"what was downloaded is {what}, not the {named.size:,} bytes of the model",
        subject=named.name,
        next_step="Try again later, or get the file in another way and name its path.",
    )
