"""Pages say what is so: examples run, links lead somewhere, figures are the card's, and the site builds."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from helpers.markdown_pages import PAGES, ROOT, anchors, blocks, examples, links
from helpers.public_names import PUBLIC, SUBPACKAGES

NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
WITH_EXAMPLES = [name for name, page in zip(NAMES, PAGES, strict=True) if examples(page)]


def test_a_page_read_by_hand(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Is `0.83` a *word*?\n\n[a](b.md#c) ![d](e.png)\n\n```sh\nls # [no](link)\n```\n"
        "<!-- not run: it wants a net -->\n```python\n1 / 0\n```\n\n```python\nx = 1\n```\n"
    )
    assert anchors(page) == {"is-083-a-word"}
    assert links(page) == ["b.md#c", "e.png"]
    assert [(b.kind, b.line, b.left_out) for b in blocks(page)] == [
        ("sh", 6, False),
        ("python", 10, True),
        ("python", 14, False),
    ]
    assert [b.code for b in examples(page)] == ["x = 1\n"]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What examples find in their folder."""
    from PIL import Image

    from redeepfake_nb.datasets.samples import sample_clip, sample_image

    photo = tmp_path_factory.mktemp("photo") / "photo.jpg"
    Image.fromarray(sample_image().image).save(photo, quality=95)
    files = {"photo.jpg": photo.read_bytes(), "clip.mp4": sample_clip()}
    return files | {f"folder/{name}": data for name, data in files.items()}


def test_pages_with_examples_are_found() -> None:
    assert {"README.md", "docs/quickstart.md", "docs/faq.md"} <= set(WITH_EXAMPLES)


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_run(name: str, samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, in one namespace, in a folder of their own."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    (tmp_path / "folder").mkdir()
    for file, data in samples.items():
        (tmp_path / file).write_bytes(data)
    monkeypatch.chdir(tmp_path)
    namespace: dict = {"__name__": "example"}
    try:
        for block in examples(ROOT / name):
            # Lines of an error are those of the page.
            exec(compile("\n" * (block.line - 1) + block.code, ROOT / name, "exec"), namespace)
    finally:
        plt.close("all")


@pytest.mark.parametrize("name", NAMES)
def test_links_within_the_project(name: str) -> None:
    page, missing = ROOT / name, []
    for link in links(page):
        if urlsplit(link).scheme:
            continue
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or ROOT not in [file, *file.parents] or (anchor and anchor not in anchors(file)):
            missing.append(link)
    assert missing == []


def test_links_to_elsewhere_are_listed(root: Path) -> None:
    """They are not followed, since tests do not depend on others' machines; the list is for a person."""
    found = sorted({link for page in PAGES for link in links(page) if urlsplit(link).scheme})
    assert found
    assert [link for link in found if urlsplit(link).scheme != "https"] == []
    (root / "build").mkdir(exist_ok=True)
    (root / "build" / "external-links.txt").write_text("\n".join(found) + "\n")


@pytest.mark.parametrize("name", [name for name in SUBPACKAGES if name != "utils"])
def test_reference_has_every_name_of_a_face(root: Path, name: str) -> None:
    page = (root / "docs" / "api" / f"{name}.md").read_text()
    named = re.findall(rf"^::: redeepfake_nb\.{name}\.(\w+)$", page, re.MULTILINE)
    assert sorted(named) == sorted(importlib.import_module(f"redeepfake_nb.{name}").__all__)


def test_every_public_name_is_in_the_reference() -> None:
    import redeepfake_nb
    from redeepfake_nb import errors

    faces = [importlib.import_module(f"redeepfake_nb.{name}") for name in SUBPACKAGES if name != "utils"]
    described = {name for face in faces for name in face.__all__} | set(vars(errors))
    assert set(PUBLIC) - {"__version__"} <= described
    assert redeepfake_nb.__version__


def test_architecture_names_every_subpackage(root: Path) -> None:
    page = (root / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| \d+ \| `(\w+)`", page, re.MULTILINE)
    assert sorted(set(rows) - {"errors", "doctor", "cli"}) == sorted(SUBPACKAGES)


def test_places_to_add_things_are_in_the_files_named(root: Path) -> None:
    """Constants, classes and private functions that the table speaks of stand in the file beside them."""
    page = (root / "docs" / "architecture.md").read_text()
    table = page[page.index("| to add | touch |") : page.index("Tests mirror the folders")]
    rows = [line.split(" | ") for line in table.splitlines()[2:] if line.startswith("| a")]
    assert len(rows) >= 9
    for what, place, how in rows:
        file = root / re.search(r"`(redeepfake_nb/[\w/.]+)`", place)[1]
        source = file.read_text() if file.is_file() else "".join(p.read_text() for p in file.glob("*.py"))
        for name in re.findall(r"`(_?[A-Z]\w+|_\w+)`", how):
            assert re.search(rf"\b{name}\b", source), f"{what}: {name} is not in {file.name}"


def test_readme_links_every_notebook(root: Path) -> None:
    linked = set(links(root / "README.md"))
    assert {f"notebooks/{path.name}" for path in (root / "notebooks").glob("*.ipynb")} <= linked


def test_figures_are_those_of_the_card(root: Path) -> None:
    """README and questions copy some of the card's; a new model must not leave the old ones behind."""
    metrics = json.loads((root / "models" / "default.json").read_text())["metrics"]
    readme, faq = (root / "README.md").read_text(), (root / "docs" / "faq.md").read_text()
    for row, key in (
        ("AUC", "auc"),
        ("accuracy at threshold 0.50", "accuracy"),
        ("calibration error (ECE)", "ece"),
    ):
        figure = metrics[key]
        wanted = f"| {row} | {figure['value']:.3f} | {figure['low']:.3f} to {figure['high']:.3f}"
        assert wanted in readme
    own = f"AUC {metrics['auc']['value']:.3f}, accuracy {metrics['accuracy']['value']:.3f}"
    assert own in (root / "docs" / "comparison.md").read_text()
    wrong = round(100 * (1 - metrics["accuracy"]["value"]))
    assert f"about {wrong} faces in 100" in faq
    assert f"error {metrics['ece']['value']:.3f}" in faq.replace("\n", " ")
    for text in (readme, faq):
        assert f"{metrics['faces']:,} faces" in text
        assert f"{metrics['groups']} people" in text


def test_recompression_figures_are_those_of_the_card(root: Path) -> None:
    card, faq = ((root / name).read_text() for name in ("models/default.md", "docs/faq.md"))
    for said, change in (
        ("JPEG quality 70", r"JPEG quality \| 70 "),
        ("JPEG quality 50", r"JPEG quality \| 50 "),
        ("JPEG quality 30", r"JPEG quality \| 30 "),
        ("JPEG quality 15", r"JPEG quality \| 15 "),
        ("H.264, crf 23", r"H\.264 \| 23 "),
        ("H.264, crf 28", r"H\.264 \| 28 "),
        ("H.264, crf 33", r"H\.264 \| 33 "),
        ("H.264, crf 38", r"H\.264 \| 38 "),
        ("half the size", r"scale \| 0\.5 "),
        ("a quarter of the size", r"scale \| 0\.25 "),
    ):
        auc, flipped = re.search(
            rf"^\| {change}.*?\| ([\d.]+) \| [\d.]+ \| ([\d.]+) \|$", card, re.MULTILINE
        ).groups()
        assert f"| {said} | {float(flipped):.0%}".replace("%", " %") + f" | {auc} |" in faq


def test_the_picture_of_the_readme(root: Path) -> None:
    from PIL import Image

    with Image.open(root / "docs" / "images" / "inspector.png") as picture:
        width, height = picture.size
    # A laptop's screen, less JupyterLab's own sides; not a placeholder.
    assert 600 <= width <= 1366
    assert height >= 500


@pytest.mark.slow
def test_the_site_builds(root: Path, tmp_path: Path) -> None:
    wanted = ("mkdocs", "material", "mkdocstrings_handlers")
    if missing := [name for name in wanted if importlib.util.find_spec(name) is None]:
        pytest.skip(f"{', '.join(missing)} not installed; `pip install '.[docs]'` builds the site")
    site = tmp_path / "site"
    run = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=root,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONWARNINGS": "default"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    pages = {str(page.parent.relative_to(site)) for page in site.rglob("index.html")}
    assert {"notebooks/" + path.stem for path in (root / "notebooks").glob("*.ipynb")} <= pages
    own = {path.relative_to(root / "docs").with_suffix("") for path in (root / "docs").rglob("*.md")}
    own = {str(path.parent if path.name == "index" else path) for path in own}
    assert own | {"model-card", "contributing", "changelog"} <= pages
    home = (site / "index.html").read_text()
    reference = "".join(page.read_text() for page in (site / "api").rglob("index.html"))
    assert 'src="images/inspector.png"' in home
    assert (site / "images" / "inspector.png").is_file()
    assert "Raises" in reference
    assert 'id="redeepfake_nb.analysis.analyze_image"' in reference
    assert not re.search(r":(?:func|class|mod|meth):", reference)
    # Whoever reads a page asks nobody else for anything.
    for html in site.rglob("*.html"):
        text = html.read_text()
        loaded = re.findall(r'<(?:script|img|iframe)[^>]* src="(https?:[^"]*)"', text)
        loaded += re.findall(r'<link[^>]* rel="stylesheet"[^>]* href="(https?:[^"]*)"', text)
        assert loaded == []
