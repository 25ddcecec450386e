"""The bar of a scan is written to standard output, up to its last file."""

from __future__ import annotations

import pytest

from redeepfake_nb.scanning import ProgressBar


def test_a_bar_counts_files_on_standard_output(capsys: pytest.CaptureFixture) -> None:
    with ProgressBar() as progress:
        for done in range(4):
            progress(done, 3)
    captured = capsys.readouterr()
    assert "3/3" in captured.out
    assert "file" in captured.out
    assert captured.err == ""
