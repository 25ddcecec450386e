"""Typed errors. Imported by every module, imports none.

A message names three things in this order: what was being read, why it cannot be used, and what
to do next. Callers that go through many files catch :class:`RedeepfakeError`, record
:meth:`RedeepfakeError.to_dict` and carry on.
"""

from __future__ import annotations

import re

_MAX_NAME = 120
# What a file says of itself may stand in a cause: the name of a layer, a setting.
_MAX_CAUSE = 1000


def displayable(name: object, limit: int = _MAX_NAME) -> str:
    """``name`` as one printable line of at most ``limit`` characters.

    File names come from strangers: control characters and undecodable bytes are shown as escapes, and
    a long name keeps its start and its end. HTML is not escaped here; whoever writes HTML does that.
    """
    text = str(name).encode("utf-8", "backslashreplace").decode("utf-8")
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    if len(text) <= limit:
        return text
    head = (limit - 1) * 2 // 3
    return f"{text[:head]}…{text[head + 1 - limit :]}"


# What Keras and TensorFlow put around the sentence that matters.
_AROUND = re.compile(
    r"Exception encountered when calling|Graph execution error|Detected at node|File \"|<?[Ss]tack|config=|"
    r".*could not be deserialized properly"
)
_COLOURS = re.compile(r"\x1b\[[\d;]*m")


def in_one_line(error: BaseException, limit: int = 200) -> str:
    """What another library's exception says, as one printable line of at most ``limit`` characters."""
    text = _COLOURS.sub("", str(error)).split("Arguments received by")[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    inner = [line.partition(": ")[2] for line in lines if line.startswith("Exception encountered: ")]
    plain = [line for line in lines if not _AROUND.match(line)]
    said = (inner[-1:] or plain or [""])[0]
    # A lookup that failed says what it looked for, and nothing else.
    if not said or isinstance(error, KeyError):
        said = f"{type(error).__name__}: {said}".removesuffix(": ")
    return displayable(said, limit)


class RedeepfakeError(Exception):
    """Base of all errors raised on purpose.

    Parameters
    ----------
    cause
        Why it cannot be used, as a clause: "the file is empty (0 bytes)".
    subject
        What was being read or written: a file name, a model name. Shown as one printable line.
    next_step
        What the reader can do about it, as a sentence.
    """

    def __init__(self, cause: str, *, subject: object = None, next_step: str = "") -> None:
        self.cause = cause = displayable(cause, _MAX_CAUSE)
        self.subject = None if subject is None else displayable(subject)
        self.next_step = next_step
        prefix = f"{self.subject}: " if self.subject else ""
        super().__init__(f"{prefix}{cause.rstrip('.')}." + (f" {next_step}" if next_step else ""))

    def __reduce__(self):
        # Keyword-only fields do not survive the default pickling of exceptions, and worker
        # processes send their errors home by pickle.
        return _rebuild, (type(self), self.cause, self.subject, self.next_step)

    def to_dict(self) -> dict[str, str | None]:
        """Plain values for journals and JSON reports."""
        return {
            "error": type(self).__name__,
            "subject": self.subject,
            "cause": self.cause,
            "next_step": self.next_step,
        }


def _rebuild(kind: type[RedeepfakeError], cause: str, subject: str | None, next_step: str):
    return kind(cause, subject=subject, next_step=next_step)


class InputError(RedeepfakeError):
    """A photo or a video that cannot be analysed."""


class EmptyFile(InputError):
    """Nothing in it."""


class UnsupportedMedia(InputError):
    """Not a picture or video, or a format that is not read here."""


class TruncatedMedia(InputError):
    """Begins well and then breaks off or is damaged."""


class MediaTooLarge(InputError):
    """Claims more pixels, seconds or bytes than the limit allows."""


class NoVideoFrames(InputError):
    """A container without a single decodable picture."""


class ModelError(RedeepfakeError):
    """A model that cannot be used."""


class NotAModel(ModelError):
    """The file is no Keras model at all (a Git LFS pointer, a web page, something else)."""


class UnsafeModel(ModelError):
    """The file asks for code or files that a model has no business with."""


class ModelIncomplete(ModelError):
    """Weights, sidecar or a needed setting is missing."""


class UnsuitableModel(ModelError):
    """Loads, but is no binary face classifier, or gives scores that are not finite."""


class HashMismatch(ModelError):
    """The file's SHA-256 is not the one that was expected."""


class UnknownChoice(RedeepfakeError, ValueError):
    """A name among arguments that stands for nothing: a method, a target, a layer without a map."""


class OutputError(RedeepfakeError):
    """Something could not be written."""


class JournalError(RedeepfakeError):
    """A journal of scans that cannot be used: foreign, newer, damaged, or in use."""


class WorkerLost(InputError):
    """The process that read the file ended in the middle of it."""


class TookTooLong(InputError):
    """Not done within the time limit."""


class MissingExtra(RedeepfakeError):
    """A package is needed that only an extra of this one brings."""
