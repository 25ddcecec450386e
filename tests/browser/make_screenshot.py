"""Take docs/images/inspector.png, a screenshot of the image inspector in JupyterLab.

It shows the copy of the sample portrait with another mouth, and the portrait in the strip of pictures.

Run by ``make screenshot``. Nothing is drawn or cropped by hand.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from helpers.jupyter_in_chromium import ANSWER, VIEWPORT, Notebook, browser, chromium, jupyter_lab, upload  # noqa: E402

# A laptop's width, and high enough for the whole inspector.
SCREEN = {"width": VIEWPORT["width"], "height": 1400}
# Milliseconds that the browser needs to draw the last picture after its text is there.
PAINTING = 3_000


def main(arguments: list[str] | None = None) -> int:
    """Run the notebook, upload both pictures, and take a screenshot of the panel."""
    from PIL import Image

    from redeepfake_nb.datasets.samples import EDITED_NAME, PORTRAIT_NAME, sample_edited, write_samples

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "inspector.png")
    out = parser.parse_args(arguments).out
    if chromium() is None:
        print("Chromium is not installed; install Debian's package `chromium`.", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as name:
        folder, scratch = Path(name, "notebooks"), Path(name, "jupyter")
        folder.mkdir()
        scratch.mkdir()
        shutil.copy(ROOT / "notebooks" / "01_image.ipynb", folder)
        write_samples(folder)
        Image.fromarray(sample_edited().image).save(folder / EDITED_NAME)
        with jupyter_lab(folder, scratch) as server, browser() as chrome:
            context = chrome.new_context(viewport=SCREEN)
            notebook = Notebook(context.new_page(), server, "01_image.ipynb")
            notebook.run_all()
            inspector = notebook.inspector()
            upload(notebook.page, inspector, folder / EDITED_NAME, folder / PORTRAIT_NAME)
            inspector.get_by_text("Points to manipulation (threshold 0.50)").first.wait_for(timeout=ANSWER)
            notebook.page.wait_for_timeout(PAINTING)
            inspector.scroll_into_view_if_needed()
            shot = inspector.screenshot()
            context.close()
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(shot)
    print(f"{out}: {len(shot) / 1e3:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
