"""``redeepfake-nb provenance``: print what files say of themselves."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from ..errors import RedeepfakeError, displayable


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser(
        "provenance", help="read what files say of themselves: Content Credentials, metadata; needs no model"
    )
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--json", action="store_true", help="print one line of JSON per file")
    parser.add_argument(
        "--trust-list",
        metavar="LIST.pem",
        help="certificates that signers have to lead to; default: that of REDEEPFAKE_TRUST_LIST, else none",
    )
    parser.add_argument(
        "--fetch-remote", action="store_true", help="fetch credentials that a file only refers to"
    )
    parser.add_argument("--location", action="store_true", help="read the GPS position, too")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from ..provenance.reading import provenance

    failed = 0
    for file in options.files:
        name = displayable(Path(file).name)
        try:
            found = provenance(
                file,
                trust_list=options.trust_list,
                fetch_remote=options.fetch_remote,
                location=options.location,
            )
        except RedeepfakeError as error:
            failed += 1
            if options.json:
                print(json.dumps({"source": {"name": name}, **error.to_dict()}))
            else:
                print(f"redeepfake-nb: {error}", file=sys.stderr)
            continue
        if options.json:
            values = {"source": found.source.to_dict(), **found.to_dict(location=options.location)}
            print(json.dumps(values), flush=True)
            continue
        print(f"{displayable(file)}: {found.summary}")
        for finding, words in found.rows():
            print(f"  {finding}: {words}")
    return 1 if failed else 0
