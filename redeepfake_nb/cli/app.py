"""``redeepfake-nb app``: serve the panels to a browser."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add the command that serves the panels, whose defaults are those of ``ServingOptions``."""
    parser = commands.add_parser("app", help="open the panels for pictures, videos and folders in a browser")
    parser.add_argument("--port", type=int, help="default: 8866, or the next one that is free")
    parser.add_argument(
        "--ip", metavar="ADDRESS", help="address to listen on; default: 127.0.0.1, this machine alone"
    )
    parser.add_argument("--no-browser", dest="browser", action="store_false", help="print the address alone")
    parser.add_argument("--model", type=Path, metavar="PATH", help="model file with its sidecar")
    parser.add_argument(
        "--upload-limit", type=int, metavar="MB", help="most megabytes of one upload; default: 200"
    )
    parser.add_argument("--visitors", type=int, metavar="N", help="most visitors at once; default: 10")
    parser.add_argument(
        "--idle-minutes", type=float, metavar="M", help="end a visit that is unused for so long; default: 30"
    )
    parser.add_argument(
        "--local-files",
        action="store_true",
        help="show boxes for paths of this machine, too; for yourself alone",
    )
    token = parser.add_mutually_exclusive_group()
    token.add_argument("--token", action="store_true", help="ask for a token, on this machine, too")
    token.add_argument(
        "--no-token",
        dest="token",
        action="store_false",
        help="ask for none even where other machines reach the page, since a login is in front",
    )
    parser.add_argument(
        "--base-url", metavar="/PATH/", help="path below which a proxy in front shows the page; default: /"
    )
    parser.set_defaults(run=run, token=None)


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from ..serving.options import ServingOptions
    from ..serving.server import serve

    def announce(address: str) -> None:
        print(f"The app is at {address}\nCtrl+C ends it.", flush=True)
        if not chosen.loopback:
            print("Other machines can reach it, unencrypted unless a proxy is in front; see docs/serving.md.")

    names = [field.name for field in dataclasses.fields(ServingOptions)]
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    chosen = ServingOptions(**given)
    serve(chosen, announce)
    return 0
