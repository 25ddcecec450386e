"""The inspectors in a real JupyterLab, used as a person does: Run All, upload, sliders, cancel, save."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from helpers.jupyter_in_chromium import ANSWER, LOADING, Notebook, drop, paste, unnamed_controls, upload

HOSTILE = """<img src=x onerror="window.harmed=1">&lt;script&gt;window.harmed=1.png"""


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from PIL import Image

    from redeepfake_nb.datasets.samples import sample_image

    path = tmp_path_factory.mktemp("uploads") / HOSTILE
    Image.fromarray(sample_image().image).save(path, "PNG")
    return path


def saved(notebook: Notebook, folder: Path) -> str:
    notebook.save()
    return (folder / notebook.name).read_text()


def test_image_inspector(opened, lab, picture: Path) -> None:
    notebook = opened("01_image.ipynb")
    page = notebook.page
    notebook.run_all()
    inspector = notebook.inspector()
    upload(page, inspector, picture)
    inspector.get_by_text("(threshold 0.50)").first.wait_for(timeout=ANSWER)
    assert "window.harmed=1.png" in inspector.inner_text()
    # Arrow keys move the threshold, and the verdict follows.
    threshold = inspector.get_by_role("slider").first
    threshold.focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    inspector.get_by_text("(threshold 0.47)").first.wait_for(timeout=ANSWER)
    assert inspector.locator("img").count() > 0
    assert unnamed_controls(page, inspector) == []
    # Another overlay strength changes the heatmap.
    panel, sources = inspector.element_handle(), "[...panel.querySelectorAll('img')].map((i) => i.src)"
    before = page.evaluate(f"panel => {sources}", panel)
    inspector.locator(".widget-hslider", has_text="Overlay").get_by_role("slider").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    changed = f"([panel, old]) => {sources}.some((source, i) => source !== old[i])"
    page.wait_for_function(changed, arg=[panel, before], timeout=ANSWER)
    # Dropped files are read; a wrong one leaves them as they are; keys go from one to the other.
    data = picture.read_bytes()
    drop(page, inspector, [(HOSTILE, data), ("second.png", data + b" ")])
    inspector.get_by_text("2 pictures analysed").wait_for(timeout=ANSWER)
    paste(page, inspector, [("note.png", b"no picture")])
    inspector.locator(".rdf-status", has_text="is still shown").wait_for(timeout=ANSWER)
    inspector.locator(".rdf-outdated", has_text="note.png was not analysed").wait_for(timeout=ANSWER)
    inspector.focus()
    page.keyboard.press("j")
    inspector.locator(".rdf-verdict", has_text="second.png").wait_for(timeout=ANSWER)
    # A face is reached by the keyboard, is shown in its own pixels, zooms, and keeps the focus.
    face = inspector.get_by_role("button", name="Face 1", exact=True)
    face.focus()
    page.keyboard.press("Enter")
    inspector.get_by_text("in the picture's own pixels").wait_for(timeout=ANSWER)
    # The button changes with the picture or just after it.
    inspector.get_by_role("button", name="Face 1", exact=True, pressed=True).wait_for(timeout=ANSWER)
    page.keyboard.press("+")
    stage = inspector.locator(".rdf-viewer-stage").first
    assert "scale(1.5)" in stage.get_attribute("style")
    # A drag moves the picture and chooses nothing; a double click shows all of it.
    box = stage.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 - 40, box["y"] + box["height"] / 2 - 30, steps=4)
    page.mouse.up()
    assert face.get_attribute("aria-pressed") == "true"
    inspector.locator(".rdf-viewer-frame").first.dblclick(position={"x": 3, "y": 3})
    assert "scale(" not in stage.get_attribute("style")
    face.focus()
    page.keyboard.press("k")
    inspector.locator(".rdf-verdict", has_text="harmed=1.png").wait_for(timeout=ANSWER)
    page.wait_for_function("document.activeElement.title === 'Face 1'", timeout=ANSWER)
    # The same face in the other picture, beside this one.
    inspector.get_by_role("button", name="Compare with another picture").click()
    inspector.get_by_label("Other picture").select_option("second.png")
    inspector.get_by_text("Original: second.png").wait_for(timeout=ANSWER)
    inspector.get_by_role("button", name="Next").click()
    inspector.locator(".rdf-verdict", has_text="second.png").wait_for(timeout=ANSWER)
    inspector.get_by_role("button", name="Previous").click()
    inspector.locator(".rdf-verdict", has_text="harmed=1.png").wait_for(timeout=ANSWER)
    # The button that was pressed is disabled now; the focus stays in the panel.
    assert page.evaluate("panel => panel.contains(document.activeElement)", inspector.element_handle())
    # The size is checked before anything is sent, and the next upload works.
    heavy = picture.with_name("heavy.png")
    with heavy.open("wb") as file:
        file.truncate(501_000_000)
    upload(page, inspector, heavy)
    inspector.get_by_text("was not sent").wait_for(timeout=ANSWER)
    with heavy.open("wb") as file:  # over the limit of one message
        file.write(data + bytes(13_000_000))
    upload(page, inspector, heavy)
    inspector.locator(".rdf-verdict", has_text="heavy.png").wait_for(timeout=ANSWER)
    # Nothing is wider than the panel.
    for width in (900, 1366):
        page.set_viewport_size({"width": width, "height": 768})
        page.wait_for_timeout(500)
        overflow = "panel => panel.scrollWidth - panel.clientWidth"
        assert page.evaluate(overflow, inspector.element_handle()) <= 1
    # A file name that looks like HTML is shown as text.
    assert page.evaluate("window.harmed") is None
    assert inspector.locator('img[src="x"]').count() == 0
    # Neither the upload nor what is on the screen is saved with the notebook.
    text = saved(notebook, lab[1])
    start = base64.b64encode(picture.read_bytes()[:3000]).decode()[:2000]
    assert start not in text
    assert "window.harmed" not in text
    assert "widgets" not in json.loads(text)["metadata"]
    # Opened again with a new kernel, the notebook shows no face and no file name.
    (lab[1] / "again.ipynb").write_text(text)
    again = opened("again.ipynb")
    again.panel.locator(".jp-CodeCell").last.wait_for(timeout=ANSWER)
    assert again.panel.locator(".rdf").count() == 0
    assert "window.harmed" not in again.panel.inner_text()
    page.bring_to_front()
    inspector.get_by_role("button", name="Clear").click()
    inspector.get_by_text("Cleared").wait_for(timeout=ANSWER)
    assert "window.harmed" not in inspector.inner_text()


def test_video_inspector(opened, lab, tmp_path: Path) -> None:
    from redeepfake_nb.datasets.samples import clip_frames, encode_clip

    clip = tmp_path / "<b onmouseover=alert(1)>clip.mp4"
    # Sixteen times the sample, so that the analysis of all frames is still running when it is cancelled.
    clip.write_bytes(encode_clip([*clip_frames()] * 16))
    notebook = opened("02_video.ipynb")
    page = notebook.page
    notebook.run_all()
    inspector = notebook.inspector()
    upload(page, inspector, clip)
    inspector.get_by_text(re.compile(r"\d+ frames analysed")).wait_for(timeout=LOADING)
    text = inspector.inner_text()
    assert "onmouseover=alert(1)" in text
    assert inspector.locator("b[onmouseover]").count() == 0
    caption = inspector.get_by_text(re.compile(r"Frame \d+ at")).first
    first = caption.inner_text()
    inspector.get_by_role("button", name="Next").click()
    page.wait_for_function(
        "([panel, old]) => !panel.innerText.includes(old)",
        arg=[inspector.element_handle(), first],
        timeout=ANSWER,
    )
    # A click into the timeline shows the frame of that time, and arrow keys the ones beside it.
    timeline = inspector.get_by_role("slider", name=re.compile("^Time: "))
    area = timeline.bounding_box()
    timeline.click(position={"x": area["width"] * 0.75, "y": area["height"] / 2})
    length = float(timeline.get_attribute("aria-valuemax"))
    # 32 frames are looked at, so the nearest one is at most half of their spacing away.
    near = f"([axis, time]) => Math.abs(axis.getAttribute('aria-valuenow') - time) < {length / 60}"
    page.wait_for_function(near, arg=[timeline.element_handle(), 0.75 * length], timeout=ANSWER)
    timeline.focus()
    page.keyboard.press("Home")
    page.wait_for_function(near, arg=[timeline.element_handle(), 0], timeout=ANSWER)
    page.wait_for_function("document.activeElement.className === 'rdf-viewer-time'", timeout=ANSWER)
    # A long analysis is cancelled, and what was analysed until then is shown.
    inspector.get_by_label("Analyse", exact=True).select_option("All frames")
    inspector.get_by_role("button", name="Analyse again").click()
    inspector.get_by_text(re.compile(r"frame \d+ of \d+")).wait_for(timeout=ANSWER)
    inspector.get_by_role("button", name=re.compile("Cancel$")).click()
    inspector.get_by_role("status").get_by_text(re.compile(r"Stopped after \d+ frames?")).first.wait_for(
        timeout=ANSWER
    )
    inspector.get_by_text(re.compile(r"P\(fake\) 0\.\d\d over")).wait_for(timeout=ANSWER)
    text = saved(notebook, lab[1])
    assert "onmouseover" not in text
    assert base64.b64encode(clip.read_bytes()[:3000]).decode()[:2000] not in text


def test_batch_inspector(opened, lab) -> None:
    """Scan the sample folder, click a row, label files by keys."""
    folder = lab[1]
    notebook = opened("06_batch.ipynb")
    page = notebook.page
    notebook.run_all()
    inspector = notebook.inspector()
    # Add a file whose name is HTML to the notebook's files.
    files = folder / "sample-files"
    hostile = files / f"{HOSTILE}"
    hostile.write_bytes(next(files.glob("*.png")).read_bytes())
    box = inspector.get_by_label("Files", exact=True)
    box.fill(str(files))
    box.blur()
    inspector.get_by_role("button", name="Scan").click()
    inspector.get_by_text(re.compile(r"\d+ files in \d+ s")).wait_for(timeout=ANSWER)
    everything = inspector.get_by_text(re.compile(r"Rows 1 to 10 of \d+")).inner_text()
    inspector.get_by_label("Order", exact=True).select_option("Highest P(fake) first")
    inspector.get_by_label("Show", exact=True).select_option("Scored, without a label")
    # A click before the table shows the filtered rows would be lost.
    inspector.get_by_text(everything).wait_for(state="detached", timeout=ANSWER)
    rows = inspector.locator("table.dataTable tbody tr")
    rows.first.wait_for(timeout=ANSWER)
    assert page.evaluate("window.harmed") is None
    rows.first.locator("td").first.click()
    inspector.get_by_text("Not labelled yet.").wait_for(timeout=ANSWER)
    inspector.locator("img").first.wait_for(timeout=ANSWER)
    before = inspector.locator(".rdf-text b").first.inner_text()
    keys = inspector.get_by_role("group", name=re.compile("Click here"))
    keys.click()
    page.keyboard.press("f")
    page.wait_for_function(
        "([panel, old]) => !['', old].includes(panel.querySelector('.rdf-text b').innerText)",
        arg=[inspector.element_handle(), before],
        timeout=ANSWER,
    )
    page.keyboard.press("b")
    inspector.get_by_text("Labelled fake.").wait_for(timeout=ANSWER)
    inspector.locator(".rdf-text b", has_text=before).first.wait_for(timeout=ANSWER)
    inspector.get_by_label("Path has").fill("window.harmed")
    inspector.get_by_label("Path has").blur()
    inspector.get_by_label("Show", exact=True).select_option("All files")
    inspector.locator("table.dataTable tbody td", has_text="window.harmed").first.wait_for(timeout=ANSWER)
    assert inspector.locator('img[src="x"]').count() == 0
    assert page.evaluate("window.harmed") is None
    # What was saved can be opened.
    inspector.get_by_role("button", name="Save on the notebook").click()
    inspector.get_by_role("button", name=re.compile("Save$")).click()
    link = inspector.get_by_role("link", name="Open the folder")
    with page.context.expect_page() as opening:
        link.click()
    opening.value.locator(".jp-DirListing-item", has_text="results.csv").wait_for(timeout=LOADING)
    opening.value.close()
    text = saved(notebook, folder)
    assert "window.harmed" not in text
