"""The HTML page, opened from disk in a browser."""

from __future__ import annotations

from pathlib import Path

from redeepfake_nb import Classifier, report, scan

NAME = """<img src=x onerror="window.harmed=1"><script>window.harmed=1<!--.png"""


def test_the_page_in_a_browser(chrome, classifier: Classifier, tmp_path: Path) -> None:
    from helpers.scan_helpers import folder, square, write

    files = folder(tmp_path / "files", 3)
    write(files / "x.png", 230).rename(files / NAME)
    (files / f"empty{NAME}").touch()
    result = scan(files, tmp_path / "j.sqlite", classifier, workers=0, detector=square)
    out = report.html(result, tmp_path / "r.html", classifier=classifier, detector=square, check_top=1)

    page = chrome.new_page(viewport={"width": 390, "height": 800})
    requests: list[str] = []
    messages: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: messages.append(message.text))
    page.goto(out.as_uri())
    try:
        assert page.evaluate("window.harmed") is None
        assert [address for address in requests if not address.startswith("data:")] == [out.as_uri()]
        assert messages == []
        shown = page.locator("body").inner_text()
        assert shown.count("window.harmed=1") >= 3
        # Every image is drawn, the style sheet is applied, and the page does not scroll sideways.
        assert page.evaluate("[...document.images].every((i) => i.complete && i.naturalWidth > 0)")
        assert page.locator("img").count() >= 4
        border = "getComputedStyle(document.querySelector('.rdf-verdict')).borderLeftWidth"
        assert page.evaluate(border) == "6px"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        # A link of the summary leads to the file.
        page.locator("table a").first.click()
        assert page.evaluate("location.hash") == "#file-1"
        # Elements inserted later cannot run either.
        page.evaluate(
            "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.harmed=2\">')"
        )
        page.wait_for_timeout(300)
        assert page.evaluate("window.harmed") is None
        page.emulate_media(media="print", color_scheme="dark")
        assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
        assert page.pdf(format="A4").startswith(b"%PDF")
    finally:
        page.close()
