"""Command line interface ``redeepfake-nb``: analysis, provenance, scans, training, evaluation and checks.

Each command is a module that adds its arguments and runs it. What it needs is imported only then, so that
help and errors take no seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import sys

from .. import __version__
from ..errors import RedeepfakeError, UnknownChoice
from . import analyze, app, convert, doctor, evaluate, provenance, scan, train


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Returns
    -------
    int
        Exit status: 0 for success, 1 where a file or check failed, 2 for invalid arguments, 130 after Ctrl-C.
    """
    # TensorFlow logs to standard error when it is imported.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    options = _parser().parse_args(arguments)
    try:
        status = options.run(options)
        sys.stdout.flush()  # at exit it would be too late to report a full disk
        return status
    except RedeepfakeError as error:
        return _failed(str(error), 2 if isinstance(error, UnknownChoice) else 1)
    except ValueError as error:
        return _failed(str(error), 2)
    except MemoryError:
        return _failed("there is not enough memory. Close other programs, or use a smaller file.", 1)
    except KeyboardInterrupt:
        return _failed("interrupted; unfinished output files were removed.", 130)
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC, errno.EDQUOT):
            return _failed(f"the system reports: {error.strerror or error}", 1)
        # The reader of the pipe is gone, or the disk is full. Python would flush again at exit.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _failed(f"the output cannot be written ({error.strerror or error})", 1)


def _failed(message: str, status: int) -> int:
    """Print an error message, and return the exit status."""
    with contextlib.suppress(OSError):
        print(f"redeepfake-nb: {message}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="redeepfake-nb",
        description="Find faces in images and videos, score them for manipulation, and explain the scores.",
    )
    parser.add_argument("--version", action="version", version=f"redeepfake-nb {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (analyze, provenance, scan, app, doctor, train, evaluate, convert):
        command.add(commands)
    return parser
