"""``ServingOptions``: where the page is served, to how many visitors, and within which limits."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

# Where the page is looked for if no port is named; the next ones are tried where it is taken.
DEFAULT_PORT = 8866


@dataclass(frozen=True, kw_only=True)
class ServingOptions:
    """Where and how :func:`redeepfake_nb.serving.serve` serves the panels.

    Parameters
    ----------
    ip
        Address to listen on. ``"127.0.0.1"`` is reached from this machine alone, ``"0.0.0.0"`` from others.
    port
        1 to 65535. Default: 8866, or the next one that is free.
    base_url
        Path below which the page is, for a proxy in front: ``"/faces/"``.
    browser
        Whether to open the page in a browser.
    token
        Whether a visitor has to know a token, which is part of the printed address. Default: where other
        machines can reach the page. Its value is that of the environment variable ``JUPYTER_TOKEN``, or drawn
        anew.
    model
        Path of a model file; default: the model that ships.
    upload_limit
        Most megabytes (10**6 bytes) of one upload.
    visitors
        Most visits at once; further ones are asked to come back later.
    idle_minutes
        A visit ends when nothing was done in it for so long.
    local_files
        Whether visitors may name, open and write files on this machine.

    Raises
    ------
    ValueError
        An option is out of range.
    """

    ip: str = "127.0.0.1"
    port: int | None = None
    base_url: str = "/"
    browser: bool = True
    token: bool | None = None
    model: Path | None = None
    upload_limit: int = 200
    visitors: int = 10
    idle_minutes: float = 30.0
    local_files: bool = False

    def __post_init__(self) -> None:
        if self.port is not None and not 1 <= self.port <= 65535:
            raise ValueError(f"the port must be 1 to 65535, not {self.port}")
        for name, words in (("upload_limit", "the upload limit"), ("visitors", "the number of visitors")):
            if getattr(self, name) < 1:
                raise ValueError(f"{words} must be 1 or more, not {getattr(self, name)}")
        if not 0 < self.idle_minutes < float("inf"):
            raise ValueError(f"idle minutes must be above 0, not {self.idle_minutes:g}")
        if not self.base_url.startswith("/"):
            raise ValueError(f"the path of the page must begin with /, as in /faces/, not {self.base_url!r}")

    @property
    def loopback(self) -> bool:
        """Whether the page can be reached from this machine alone."""
        try:
            return ipaddress.ip_address(self.ip).is_loopback
        except ValueError:
            return self.ip == "localhost"

    @property
    def asks_for_token(self) -> bool:
        """Whether a visitor has to know a token."""
        return not self.loopback if self.token is None else self.token
