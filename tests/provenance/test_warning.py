"""What stands beside a verdict where a file speaks against itself."""

from __future__ import annotations

import pytest

from redeepfake_nb.media.frames import Source
from redeepfake_nb.provenance import Claim, ContentCredentials, Provenance

SOURCE = Source("a.jpg", None, "JPEG", 1)


@pytest.mark.parametrize(
    ("provenance", "words"),
    [
        (Provenance(SOURCE, ContentCredentials("tampered", ai="all")), "changed after signing"),
        (Provenance(SOURCE, ContentCredentials("valid", ai="all")), "declares AI"),
        (Provenance(SOURCE, claims=(Claim("generator", "X", "EXIF", ai=True),)), "claims AI"),
        (Provenance(SOURCE, ContentCredentials("valid", "trusted")), ""),
        (Provenance(SOURCE), ""),
    ],
)
def test_warning(provenance: Provenance, words: str) -> None:
    assert provenance.warning == words
