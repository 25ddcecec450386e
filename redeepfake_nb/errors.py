"""Exceptions of the package, each of which names the subject, the cause and the next step.

Messages have the form "subject: cause. Next step." Callers that process many files catch
:class:`RedeepfakeError`, record :meth:`RedeepfakeError.to_dict` and continue with the next file. Every module
may import this one; it imports none.
"""

from __future__ import annotations

import re
from typing import Any

_MAX_NAME = 120
# A cause may quote the file itself, for example the name of a layer, so its length is limited too.
_MAX_CAUSE = 1000


def displayable(name: object, limit: int = _MAX_NAME) -> str:
    """Convert a name to one printable line of at most ``limit`` characters.

    File names are untrusted: control characters and undecodable bytes are shown as escapes, and a long name
    keeps its start and its end. HTML is not escaped here; code that writes HTML has to do that.
    """
    text = str(name).encode("utf-8", "backslashreplace").decode("utf-8")
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    if len(text) <= limit:
        return text
    head = (limit - 1) * 2 // 3
    return f"{text[:head]}…{text[head + 1 - limit :]}"


# Lines that Keras and TensorFlow put around the one that states the cause.
_BOILERPLATE = re.compile(
    r"Exception encountered when calling|Graph execution error|Detected at node|File \"|<?[Ss]tack|config=|"
    r".*could not be deserialized properly"
)
_ANSI_COLORS = re.compile(r"\x1b\[[\d;]*m")


# The next step where anything but a typed error was raised for a file.
UNEXPECTED = "This should not happen: please report it together with the file."


def one_line_message(error: BaseException, limit: int = 200) -> str:
    """Summarise another library's exception in one printable line of at most ``limit`` characters."""
    text = _ANSI_COLORS.sub("", str(error)).split("Arguments received by")[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    inner = [line.partition(": ")[2] for line in lines if line.startswith("Exception encountered: ")]
    plain = [line for line in lines if not _BOILERPLATE.match(line)]
    cause = (inner[-1:] or plain or [""])[0]
    # The message of a KeyError is nothing but the key.
    if not cause or isinstance(error, KeyError):
        cause = f"{type(error).__name__}: {cause}".removesuffix(": ")
    return displayable(cause, limit)


class RedeepfakeError(Exception):
    """Base class of all errors that this package raises on purpose.

    Parameters
    ----------
    cause
        Why the operation failed, as a clause: "the file is empty (0 bytes)".
    subject
        What was being read or written, such as a file or a model name. Shown as one printable line.
    next_step
        What the user can do about it, as a sentence.
    """

    def __init__(self, cause: str, *, subject: object = None, next_step: str = "") -> None:
        self.cause = cause = displayable(cause, _MAX_CAUSE)
        self.subject = None if subject is None else displayable(subject)
        self.next_step = next_step
        prefix = f"{self.subject}: " if self.subject else ""
        super().__init__(f"{prefix}{cause.rstrip('.')}." + (f" {next_step}" if next_step else ""))

    def __reduce__(self) -> tuple[Any, ...]:
        # Keyword-only arguments do not survive the default pickling of exceptions, and worker processes
        # return their errors by pickle.
        return _rebuild, (type(self), self.cause, self.subject, self.next_step)

    def to_dict(self) -> dict[str, str | None]:
        """Return the error as plain values for scan journals and JSON reports."""
        return {
            "error": type(self).__name__,
            "subject": self.subject,
            "cause": self.cause,
            "next_step": self.next_step,
        }


def _rebuild(kind: type[RedeepfakeError], cause: str, subject: str | None, next_step: str) -> RedeepfakeError:
    return kind(cause, subject=subject, next_step=next_step)


class InputError(RedeepfakeError):
    """An image or a video cannot be analysed."""


class EmptyFile(InputError):
    """The file or array is empty."""


class UnsupportedMedia(InputError):
    """The input is neither an image nor a video, or its format is not supported."""


class TruncatedMedia(InputError):
    """The file begins like a supported format but is truncated or damaged."""


class MediaTooLarge(InputError):
    """The input exceeds a limit on pixels, duration, file size or memory."""


class NoVideoFrames(InputError):
    """The file contains no video stream, or a video stream without frames."""


class ModelError(RedeepfakeError):
    """A model cannot be used."""


class NotAModel(ModelError):
    """The file is not a Keras model (but a Git LFS pointer, a web page, something else)."""


class UnsafeModel(ModelError):
    """The model file refers to code, other files or more memory than a model may need."""


class ModelIncomplete(ModelError):
    """The weights, the sidecar or a required setting is missing."""


class UnsuitableModel(ModelError):
    """The model loads but is not a binary face classifier, or its scores are not finite."""


class HashMismatch(ModelError):
    """The SHA-256 of a file differs from the expected one."""


class UnknownChoice(RedeepfakeError, ValueError):
    """An argument names an unknown method or target, or a layer that has no feature map."""


class OutputError(RedeepfakeError):
    """A file or folder could not be written."""


class JournalError(RedeepfakeError):
    """A scan journal cannot be used: another program's file, a newer version, damaged, or in use."""


class WorkerLost(InputError):
    """The worker process ended while it processed the file."""


class TookTooLong(InputError):
    """The file was not processed within the time limit."""


class MissingExtra(RedeepfakeError):
    """A package is missing that is installed only with an extra of this one."""
