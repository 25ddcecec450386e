"""Read what a file says of itself: Content Credentials, metadata, generator parameters, traces."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np

from ..errors import InputError, RedeepfakeError, UnsupportedMedia, displayable, one_line_message
from ..media.file_types import describe_unsupported, image_format, video_format
from ..media.files import check_file_size, empty_file_error, open_file
from ..media.frames import Frame, Source, read_image, resolve_source
from ..media.image_decoding import MAX_PIXELS
from .credentials import FORMATS, read_credentials
from .embedded import Embedded, Text, read_embedded
from .exif import DamagedExif, Exif, read_exif
from .generators import find_generators
from .handling import jpeg_traces
from .iptc import read_iptc
from .previews import compare_preview
from .records import TRUST_LIST, Claim, ClaimKind, ContentCredentials, Provenance, Thumbnail
from .vocabulary import names_generator, source_type
from .xmp import DamagedXmp, read_xmp

# A file with the certificates that are trusted, for everything in the process that reads credentials.
TRUST_LIST_VARIABLE = "REDEEPFAKE_TRUST_LIST"
_MAX_PICTURE = 256 * 2**20
_MAX_VIDEO = 64 * 2**30
_MAX_TRUST_LIST = 16 * 2**20
_VALUE = 200
_MAX_CLAIMS = 60
# Failures of one part, which cost that part and nothing else.
_FAILURES = (RedeepfakeError, OSError, ValueError, KeyError, IndexError, TypeError, AttributeError,
             MemoryError, RecursionError, ArithmeticError)  # fmt: skip


def provenance(
    source: Any,
    *,
    name: str | None = None,
    trust_list: str | os.PathLike | bytes | None = None,
    fetch_remote: bool = False,
    location: bool = False,
) -> Provenance:
    """Read what a picture or a video says of itself; no model is involved, and no network is used.

    Parameters
    ----------
    source
        A path, the file's bytes, or one upload; see :func:`redeepfake_nb.read_image` and
        :func:`redeepfake_nb.open_video`. Arrays and frames hold no metadata.
    name
        Name in reports and error messages. Default: the name of the file or upload.
    trust_list
        Certificates in PEM format, as bytes or as the path of a file, that signers of Content Credentials
        have to lead to; for example C2PA's trust list, which you download yourself. Default: the file that
        the environment variable ``REDEEPFAKE_TRUST_LIST`` names; without one, signers are not checked.
    fetch_remote
        Whether to fetch Content Credentials that the file only refers to. Whoever runs that address learns
        that the file is being looked at.
    location
        Whether to read the GPS position.

    Returns
    -------
    Provenance
        What cannot be read is listed in ``unread``, with the reason.

    Raises
    ------
    InputError
        The file or the trust list does not exist or cannot be read, or the file is neither a picture nor a
        video.
    """
    certificates = _certificates(trust_list)
    if isinstance(source, (Frame, np.ndarray)):
        frame = read_image(source, name=name)
        origin = frame.source or Source(name or "frame", None, "array", None)
        return Provenance(origin, unread=("metadata: only pixels were given, not a file",))
    return _read(source, name, certificates, fetch_remote, location, None, None)


def provenance_or_reason(
    source: Any, frame: Frame | None = None, origin: Source | None = None
) -> Provenance | None:
    """Read what a file says of itself for a report; whatever goes wrong becomes an entry of ``unread``.

    Parameters
    ----------
    source
        What the report is on; see :func:`provenance`.
    frame
        The picture, where it is decoded already.
    origin
        The source that the report names.

    Returns
    -------
    Provenance or None
        None for pixels that did not come as a file.
    """
    if isinstance(source, (Frame, np.ndarray)):
        return None
    origin = origin or (frame.source if frame is not None else None) or Source("file", None, "unknown", None)
    unread: tuple[str, ...] = ()
    certificates = ""
    try:
        certificates = _certificates(None)
    except _FAILURES as error:
        unread = (f"{TRUST_LIST}{_cause(error)}",)
    try:
        found = _read(source, None, certificates, False, False, frame, origin)
    except _FAILURES as error:
        return Provenance(origin, unread=(*unread, f"metadata: {_cause(error)}"))
    return replace(found, unread=(*unread, *found.unread))


def _cause(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "there is not enough memory"
    return error.cause if isinstance(error, RedeepfakeError) else one_line_message(error)


def _certificates(trust_list: str | os.PathLike | bytes | None) -> str:
    """Return the trusted certificates as PEM text; empty where no list is named.

    Raises
    ------
    InputError
        The list cannot be read or holds no certificate.
    """
    if trust_list is None:
        trust_list = os.environ.get(TRUST_LIST_VARIABLE) or None
    if trust_list is None:
        return ""
    subject: object = "trust list"
    if isinstance(trust_list, bytes):
        data = trust_list
    else:
        subject = os.fspath(trust_list)
        with open_file(trust_list, max_bytes=_MAX_TRUST_LIST, what="certificate") as file:
            data = file.read(_MAX_TRUST_LIST)
    text = data.decode("ascii", "ignore")
    found = re.findall(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----", text)
    if not found:
        raise InputError(
            "there is no certificate in PEM format in it",
            subject=subject,
            next_step="Name a file with blocks that begin with -----BEGIN CERTIFICATE-----.",
        )
    return "\n".join(found) + "\n"


# ------------------------------------------------------------------ one file


def _read(
    source: Any,
    name: str | None,
    certificates: str,
    fetch_remote: bool,
    location: bool,
    frame: Frame | None,
    origin: Source | None,
) -> Provenance:
    data, label, subject = resolve_source(source, name=name, what="file")
    subject = name or subject
    path = None if data is not None else os.fspath(source)
    file: BinaryIO
    if data is None:
        file = open_file(source, name=name, max_bytes=_MAX_VIDEO, what="media")
    else:
        data = bytes(data)
        file = io.BytesIO(data)
    with file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        head = file.read(4096)
        if not head:
            raise empty_file_error(subject)
        kind = image_format(head)
        is_video = kind is None
        kind = kind or video_format(head)
        if kind is None:
            what, step = describe_unsupported(head)
            raise UnsupportedMedia(
                f"this is {what}, which is neither a picture nor a video that can be read",
                subject=subject,
                next_step=step,
            )
        check_file_size(size, _MAX_VIDEO if is_video else _MAX_PICTURE, subject)
        if origin is None:
            file.seek(0)
            # The hash of a large video takes seconds; a report on one has it anyway.
            digest = None if is_video else hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
            origin = Source(name or label, digest, kind, size)
        reading = _Reading(file, kind, is_video, location)
        reading.read()
        if frame is None and reading.exif.thumbnail:
            reading.guard("embedded preview", lambda: reading.compare(_decoded(source, name)))
        elif reading.exif.thumbnail and frame is not None:
            reading.guard("embedded preview", lambda: reading.compare(frame.image))
    credentials = None
    if reading.lost_credentials:
        credentials = ContentCredentials("missing")
    elif reading.remote_url and not fetch_remote:
        credentials = ContentCredentials("remote", url=displayable(reading.remote_url, _VALUE))
    elif (reading.holds_credentials or reading.remote_url) and kind in FORMATS:
        credentials = read_credentials(
            None if path is not None else bytes(data or b""),
            path,
            kind,
            size,
            trust_list=certificates,
            fetch_remote=fetch_remote,
        )
    return reading.result(origin, credentials)


def _decoded(source: Any, name: str | None) -> np.ndarray:
    return read_image(source, name=name, max_pixels=MAX_PIXELS).image


class _Reading:
    """What was found in one file so far."""

    def __init__(self, file: BinaryIO, kind: str, is_video: bool, location: bool) -> None:
        self._file, self._kind, self._is_video, self._location = file, kind, is_video, location
        self._claims: list[Claim] = []
        self._details: list[tuple[str, str]] = []
        self._unread: list[str] = []
        self._embedded = Embedded()
        self._thumbnail: Thumbnail | None = None
        self._provenance_url = ""
        self._refers_inside = False
        self.exif = Exif()

    @property
    def holds_credentials(self) -> bool:
        """Whether the file holds Content Credentials."""
        return self._embedded.credentials

    @property
    def remote_url(self) -> str:
        """Where Content Credentials are, for a file that does not hold them itself."""
        return "" if self.holds_credentials else self._provenance_url

    @property
    def lost_credentials(self) -> bool:
        """Whether the metadata refer to Content Credentials inside the file that are not there."""
        return self._refers_inside and not self.holds_credentials

    def guard(self, what: str, read: Callable[[], None]) -> None:
        """Read one part; a failure is recorded and costs that part alone."""
        try:
            read()
        except (DamagedExif, DamagedXmp) as error:
            self._unread.append(f"{what}: {error}")
        except _FAILURES as error:
            self._unread.append(f"{what}: {_cause(error)}")

    def read(self) -> None:
        """Read all parts but the preview and the credentials."""
        self.guard("metadata", self._read_blocks)
        self._unread += self._embedded.unread
        if self._embedded.exif:
            self.guard("EXIF", self._read_exif)
        if self._embedded.xmp:
            self.guard("XMP", self._read_xmp)
        if self._embedded.iptc:
            self.guard("IPTC", self._read_iptc)
        if self._is_video or self._kind == "MP4":
            self.guard("tags of the container", self._read_tags)
        self.guard("generator parameters", self._read_texts)

    def _read_blocks(self) -> None:
        self._embedded = read_embedded(self._file, self._kind)

    # -- claims

    def _claim(self, kind: ClaimKind, value: str, where: str, ai: bool = False) -> None:
        words = displayable(" ".join(value.split()), _VALUE)
        claim = Claim(kind, words, where, ai)
        if words and claim not in self._claims and len(self._claims) < _MAX_CLAIMS:
            self._claims.append(claim)

    def _program(self, value: str, where: str, kind: ClaimKind = "software") -> None:
        ai = names_generator(value, software=kind == "software")
        self._claim("generator" if ai else kind, value, where, ai)

    def _source_type(self, value: str, where: str) -> None:
        known = source_type(value)
        if known is None:
            self._claim("source type", value.rpartition("/")[2], where)
        else:
            self._claim("source type", known[0], where, ai=bool(known[1]))

    def _read_exif(self) -> None:
        self.exif = exif = read_exif(self._embedded.exif, location=self._location)
        fields = exif.fields
        camera = " ".join(dict.fromkeys(fields[key] for key in ("Make", "Model") if key in fields))
        self._claim("camera", camera, "EXIF Make, Model", names_generator(camera, software=False))
        for key in ("Software", "ProcessingSoftware", "HostComputer", "ImageEditor", "ImageEditingSoftware",
                    "RAWDevelopingSoftware", "MetadataEditingSoftware"):  # fmt: skip
            self._program(fields.get(key, ""), f"EXIF {key}")
        self._program(fields.get("Artist", ""), "EXIF Artist", "author")
        self._program(fields.get("Copyright", ""), "EXIF Copyright", "credit")
        self._claim("time", fields.get("DateTimeOriginal", ""), "EXIF DateTimeOriginal")
        self._embedded.texts += [
            Text(f"EXIF {key}", key, fields[key])
            for key in ("UserComment", "ImageDescription", "XPComment") if key in fields
        ]  # fmt: skip

    def _read_xmp(self) -> None:
        for key, value in read_xmp(self._embedded.xmp):
            where = f"XMP {key}"
            if key.endswith(":DigitalSourceType") or key.endswith(":digitalSourceType"):
                self._source_type(value, where)
            elif key in ("xmp:CreatorTool", "stEvt:softwareAgent", "tiff:Software"):
                self._program(value, where)
            elif key.startswith("Iptc4xmpExt:AI"):  # AISystemUsed, AIPromptInformation and others
                self._claim("AI label", value, where, ai=True)
            elif key in ("photoshop:Credit", "photoshop:Source", "dc:rights"):
                self._program(value, where, "credit")
            elif key == "dc:creator":
                self._program(value, where, "author")
            elif key in ("stEvt:action", "photoshop:History"):
                self._claim("edit", value, where)
            elif key == "photoshop:DateCreated":
                self._claim("time", value, where)
            elif key.startswith("TC260:"):
                self._read_label(value, where)
            elif key == "dcterms:provenance":
                # The property is older than C2PA, and may hold the history of a painting.
                if re.match(r"https?://\S+$", value.strip(), re.IGNORECASE):
                    self._provenance_url = value.strip()
                elif value.startswith("self#jumbf="):
                    self._refers_inside = True
                else:
                    self._claim("provenance", value, where)
            elif key in ("dc:description", "exif:UserComment"):
                self._embedded.texts.append(Text(where, "description", value))

    def _read_label(self, value: str, where: str) -> None:
        """Read the label of the Chinese standard GB 45438-2025: 1 is made by AI, 2 perhaps, 3 suspected."""
        match = re.search(r'"?Label"?\s*[:=]\s*"?([123])', value)
        words = {"1": "made by AI", "2": "possibly made by AI", "3": "suspected to be made by AI"}
        if match:
            maker = re.search(r'"ContentProducer"\s*:\s*"([^"]{1,80})"', value)
            by = f" by {maker[1]}" if maker else ""
            self._claim(
                "AI label", f"{words[match[1]]}{by} (GB 45438 label {match[1]})", where, match[1] != "3"
            )

    def _read_iptc(self) -> None:
        for key, value in read_iptc(self._embedded.iptc):
            where = f"IPTC {key}"
            if key == "OriginatingProgram":
                self._program(value, where)
            elif key in ("Credit", "Source", "Copyright"):
                self._program(value, where, "credit")
            elif key == "By-line":
                self._program(value, where, "author")
            elif key in ("Caption", "SpecialInstructions"):
                self._embedded.texts.append(Text(where, "description", value))

    def _read_texts(self) -> None:
        for made in find_generators(self._embedded.texts):
            self._claim("generator", made.words, made.where, ai=True)
        for text in self._embedded.texts:
            key = text.keyword.lower()
            if text.where == "PNG text" and key in ("software", "source", "author", "artist", "copyright"):
                self._program(text.content, f"PNG text “{displayable(text.keyword, 40)}”")
            elif "aigc" in key:
                self._read_label(text.content, f"{text.where} “{displayable(text.keyword, 40)}”")
            elif text.where in ("JPEG comment", "GIF comment") and len(text.content) < 1000:
                # Writers put their name there, such as "Lavc60.3.100" or "CREATOR: gd-jpeg v1.0".
                self._program(text.content, text.where)

    def _read_tags(self) -> None:
        import av

        from ..media.limits import TimeLimitExceeded
        from .container_tags import read_tags

        try:
            tags, streams = read_tags(self._file, self._kind)
        except (av.FFmpegError, TimeLimitExceeded) as error:
            self._unread.append(f"tags of the container: {one_line_message(error) or 'it took too long'}")
            return
        self._details += streams
        for key, value in tags:
            short = key.rpartition(" ")[2].lower()
            where = f"tag {key}"
            if "aigc" in short:
                self._read_label(value, where)
            elif short in ("encoder", "software", "encoded_by", "writing_application",
                           "com.apple.quicktime.software"):  # fmt: skip
                self._program(value, where)
            elif short in ("make", "model", "com.apple.quicktime.make", "com.apple.quicktime.model",
                           "com.android.manufacturer", "com.android.model"):  # fmt: skip
                self._claim("camera", value, where)
            elif short in ("creation_time", "com.apple.quicktime.creationdate"):
                self._claim("time", value, where)
            elif "location" in short:
                self.exif.has_location = True
                if self._location:
                    self._read_iso_6709(value)
            elif short in ("comment", "description", "title", "synopsis", "artist", "copyright"):
                self._embedded.texts.append(
                    Text(where, "description" if short != "comment" else "comment", value)
                )
                if short in ("artist", "copyright"):
                    self._program(value, where, "author")

    def _read_iso_6709(self, value: str) -> None:
        match = re.match(r"([+-]\d{1,2}\.?\d*)([+-]\d{1,3}\.?\d*)", value)
        if match:
            self.exif.location = float(match[1]), float(match[2])

    def compare(self, pixels: np.ndarray) -> None:
        """Compare the embedded preview with the picture."""
        self._thumbnail = compare_preview(self.exif.thumbnail, self.exif.orientation, pixels)

    def result(self, origin: Source, credentials: ContentCredentials | None) -> Provenance:
        """Return the record."""
        return Provenance(
            origin,
            credentials,
            tuple(sorted(self._claims, key=lambda claim: not claim.ai)),
            tuple(jpeg_traces(self._embedded.tables)),
            self._thumbnail,
            self.exif.has_location,
            self.exif.location if self._location else None,
            tuple(displayable(words, 400) for words in self._unread),
            tuple((name, displayable(value, _VALUE)) for name, value in self._details),
        )
