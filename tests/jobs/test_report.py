"""The report: what its page holds, what hostile names do to it, and how it looks in a browser where there is one."""

import base64
import io
import re
import shutil
import subprocess
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jobs.report import main
from jobs.reporting import gallery as gallery_module
from jobs.reporting.gallery import make_gallery
from jobs.reporting.plots import make_plots
from jobs.reporting.rows import index_rows
from jobs.reporting.runs import open_runs
from jobs.reporting.scores import evaluate
from tests.support.made_runs import MadeRow, make_run, write_picture
from tests.support.means import skip_without

HOSTILE = '"><script>alert(1)<b onmouseover=alert(2)>&amp;$x$'
VOID_ELEMENTS = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """The elements of a page, its text, and whether they are nested rightly."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID_ELEMENTS:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def require_harmless(self) -> None:
        """No script, nothing fetched from anywhere, ids unique."""
        names = {name for name, _ in self.elements}
        assert not names & {"script", "iframe", "object", "embed", "link", "form", "base"}
        for _, attributes in self.elements:
            for name, value in attributes.items():
                assert not name.startswith("on")
                if name in ("href", "xlink:href"):
                    assert str(value).startswith("#")
                if name == "src":
                    assert str(value).startswith("data:image/")
                assert "url(" not in str(value) or "url(#" in str(value)
        ids = [attributes["id"] for _, attributes in self.elements if "id" in attributes]
        assert len(ids) == len(set(ids))
        targets = {str(attributes["href"])[1:] for attributes in self.all("a")}
        assert targets <= set(ids)


def scored_rows(folder: Path, errors: tuple[int, ...], **columns: Any) -> list[MadeRow]:
    """Return rows whose object is the left half and whose map marks so many columns too many: fewer score higher."""
    rows = []
    for number, error in enumerate(errors):
        mask = np.tile(np.arange(40) < 20, (30, 1))
        levels = np.tile(np.arange(40) < 20 + error, (30, 1)) * np.uint8(255)
        image = np.full((30, 40, 3), 20 * number, np.uint8)
        found = {"mask_uri": write_picture(folder / f"mask {number}.png", mask)} | columns
        maps = {"raw": 255 - levels, "refined": levels}
        rows.append(MadeRow(write_picture(folder / f"image {number}.png", image), maps, mask, found))
    return rows


def report(folder: Path, *runs: str, options: tuple[str, ...] = ()) -> Page:
    """Make a report on some runs and return its page."""
    assert main(["--runs", *runs, "--output", str(folder), *options]) == 0
    page = Page((folder / "report.html").read_text())
    page.require_harmless()
    return page


def test_report_on_two_runs(tmp_path: Path) -> None:
    known = {"label": 7, "label_name": "sorrel", "label_probability": 0.25, "logit_before": 20.0, "logit_after": 12.5}
    first = make_run(tmp_path / "first", scored_rows(tmp_path, tuple(range(10)), **known))
    second = make_run(tmp_path / "second", scored_rows(tmp_path, (9,) * 10), method="low-level")
    page = report(tmp_path / "report", first, second, options=("--images", "2", "--structure-scores"))
    assert "2 runs; 10 images are in all of them." in page.text
    assert 'class="warning"' not in (tmp_path / "report" / "report.html").read_text()
    headings = re.findall(r"<h3>(.*?)</h3>", (tmp_path / "report" / "report.html").read_text())
    assert headings == ["Stages of each run", "Best", "Median", "Worst"]
    # Two images of each kind, each with original, mask and two stages of two runs.
    assert len(page.all("img")) == 3 * 2 * (2 + 2 * 2)
    shown = re.findall(r"<h4>(.*?)</h4>", (tmp_path / "report" / "report.html").read_text())
    assert shown == [f"image {number}.png" for number in (0, 1, 4, 5, 9, 8)]
    assert "clamped-erasure: sorrel, p = 0.25; logit 20.0 → 12.5 (−7.5)" in page.text
    assert "low-level: sorrel" not in page.text
    # The first map is perfect; one with nine columns too many has precision 20/29.
    f_beta = 1.3 * (20 / 29) / (0.3 * 20 / 29 + 1)
    assert "F 1.000" in page.text
    assert f"F {f_beta:.3f}" in page.text
    assert f"{f_beta:.4f}" in page.text
    svgs = page.all("svg")
    assert [svg["aria-label"] for svg in svgs] == [
        "Precision and recall",
        "F-beta",
        "Stages of clamped-erasure",
        "Stages of low-level",
        "Seconds of work per image",
    ]
    names = {path.name for path in (tmp_path / "report" / "plots").iterdir()}
    stems = ("curves", "scores", "seconds", "stages-1", "stages-2")
    assert names == {f"{stem}.{kind}" for stem in stems for kind in ("svg", "png")}
    with Image.open(tmp_path / "report" / "plots" / "curves.png") as image:
        assert image.width > 1000


def test_embedded_pictures_are_those_of_the_rows(tmp_path: Path) -> None:
    uri = make_run(tmp_path / "run", scored_rows(tmp_path, (5,)))
    page = report(tmp_path / "report", uri)
    shown = {}
    for attributes in page.all("img"):
        content = base64.b64decode(str(attributes["src"]).removeprefix("data:image/jpeg;base64,"))
        shown[str(attributes["alt"])] = np.asarray(Image.open(io.BytesIO(content)).convert("L")) / 255
    assert [name.strip() for name in shown] == [
        "original of image 0.png",
        "mask of image 0.png",
        "clamped-erasure raw of image 0.png",
        "clamped-erasure refined of image 0.png",
    ]
    means = [picture.mean() for picture in shown.values()]
    assert means == pytest.approx([0, 20 / 40, 1 - 25 / 40, 25 / 40], abs=0.01)


def test_objects_cut_out_are_shown_and_scored(tmp_path: Path) -> None:
    rows = scored_rows(tmp_path, (1,))
    cut_out = {
        "segmentation": rows[0].values()["map_refined"],
        "segmentation_f_beta": 0.8125,
        "segmentation_iou": 0.4375,
    }
    rows[0].columns = {**rows[0].columns, **cut_out}
    page = report(tmp_path / "report", make_run(tmp_path / "run", rows, segmented=True))
    assert len(page.all("img")) == 5
    assert "segmentation F 0.812" in page.text
    assert "cut-out IoU" in page.text
    assert "0.4375" in page.text


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    rows = scored_rows(tmp_path, (1, 2), label=3, label_name=HOSTILE, label_probability=0.5)
    rows[0].uri = f"/gone/<script>alert(3)</script>/{HOSTILE}.jpg"
    rows.append(MadeRow(f"/gone/{HOSTILE}", columns={"status": "fetch_error", "error": HOSTILE}))
    folder = tmp_path / HOSTILE
    first, second = make_run(folder, rows), make_run(tmp_path / "other", rows)
    page = report(tmp_path / "report", first, second)
    assert f"{HOSTILE}.jpg" in page.text
    assert f"clamped-erasure ({HOSTILE})" in page.text
    text = (tmp_path / "report" / "report.html").read_text()
    assert "<script" not in text
    assert "<b onmouseover" not in text
    assert "original not reachable" in page.text
    assert "Content-Security-Policy" in {attributes.get("http-equiv") for attributes in page.all("meta")}


def test_names_of_runs_stay_text_in_plots(tmp_path: Path) -> None:
    rows = scored_rows(tmp_path, (1, 2))
    runs = evaluate(open_runs([make_run(tmp_path / "<i>$\\frac{1}{2}$", rows), make_run(tmp_path / "b", rows)]))
    for plots in make_plots(runs).values():
        for plot in plots:
            page = Page(plot.inline_svg())
            page.require_harmless()
            assert ("<i>$\\frac{1}{2}$" in page.text) == (plot.name != "stages-2")
            assert plot.files()[f"{plot.name}.png"].startswith(b"\x89PNG")


def test_runs_that_do_not_share_all_images_are_compared_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = scored_rows(tmp_path, (1, 2, 3, 4))
    first = make_run(tmp_path / "first", rows[:3])
    second = make_run(tmp_path / "second", rows[1:], method="low-level")
    page = report(tmp_path / "report", first, second)
    assert "2 runs; 2 images are in all of them." in page.text
    assert "2 are in all of them, but clamped-erasure holds 3, low-level holds 3" in page.text
    assert "warning   The runs do not hold the same images" in capsys.readouterr().out
    shown = re.findall(r"<h4>(.*?)</h4>", (tmp_path / "report" / "report.html").read_text())
    assert shown == ["image 1.png", "image 2.png"]


def test_runs_without_a_common_image_show_the_first_alone(tmp_path: Path) -> None:
    rows = scored_rows(tmp_path, (1, 2, 3, 4))
    first = make_run(tmp_path / "first", rows[:2])
    second = make_run(tmp_path / "second", rows[2:], method="low-level")
    page = report(tmp_path / "report", first, second)
    assert "No image is in all runs, so the gallery shows clamped-erasure alone." in page.text
    assert len(page.all("img")) == 2 * 4


def test_runs_that_score_different_images_are_compared_with_a_warning(tmp_path: Path) -> None:
    rows = scored_rows(tmp_path, (1, 2, 3))
    failed = MadeRow(rows[2].uri, columns={"status": "method_error", "error": "no region"})
    first = make_run(tmp_path / "first", rows)
    second = make_run(tmp_path / "second", [*rows[:2], failed], method="low-level")
    page = report(tmp_path / "report", first, second)
    assert "Not the same images have scores in every run (clamped-erasure has 3, low-level has 2)." in page.text
    assert "low-level: method_error: no region" in page.text
    assert "no map: method_error" in page.text


def test_a_run_without_masks_has_pictures_and_no_scores(tmp_path: Path) -> None:
    rows = [MadeRow(row.uri, row.maps) for row in scored_rows(tmp_path, (1, 2))]
    page = report(tmp_path / "report", make_run(tmp_path / "run", rows))
    assert "there are no scores" in page.text
    assert "First images" in page.text
    assert page.text.count("no mask") == 2
    assert len(page.all("img")) == 2 * 3
    assert [svg["aria-label"] for svg in page.all("svg")] == ["Seconds of work per image"]


def test_a_run_without_any_ok_row(tmp_path: Path) -> None:
    failed = {"status": "fetch_error", "error": "not there"}
    rows = [MadeRow(f"/gone/{number}.jpg", columns=failed) for number in range(3)]
    page = report(tmp_path / "report", make_run(tmp_path / "run", rows))
    assert page.all("img") == []
    assert page.text.count("original not reachable") == 3
    assert page.text.count("no map: fetch_error") == 6


def test_an_unfinished_run_is_refused_unless_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    uri = make_run(tmp_path / "run", scored_rows(tmp_path, (1, 2)), finished=False)
    assert main(["--runs", uri, "--output", str(tmp_path / "report")]) == 2
    assert "has not finished" in capsys.readouterr().err
    page = report(tmp_path / "report", uri, options=("--partial",))
    assert "clamped-erasure has not finished: its scores are over the 2 rows that are there." in page.text


def test_settings_are_checked_and_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    uri = make_run(tmp_path / "run", scored_rows(tmp_path, (1,)))
    output = str(tmp_path / "report")
    assert main(["--runs", uri, "--output", output, "--images", "0"]) == 2
    assert main(["--runs", uri, "--output", output, "--dry-run"]) == 0
    assert not (tmp_path / "report").exists()


def test_many_pictures_are_made_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = make_run(tmp_path / "run", scored_rows(tmp_path, (1, 2, 3)))
    runs = evaluate(open_runs([uri]))
    indexes = [index_rows(run.run) for run in runs]

    def embedded() -> tuple[int, int]:
        groups = make_gallery(runs, indexes, 1)
        sources = [cell.source for group in groups for sample in group.samples for cell in sample.cells]
        content = [base64.b64decode(str(source).split(",")[1]) for source in sources]
        return sum(map(len, content)), Image.open(io.BytesIO(content[0])).width

    size, width = embedded()
    assert width == gallery_module.LARGEST_SIDE
    monkeypatch.setattr(gallery_module, "EMBEDDED_BYTES", size * 2 // 3)
    smaller, narrower = embedded()
    assert smaller <= size * 2 // 3
    assert narrower < width


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_the_screen(tmp_path: Path, width: int) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        skip_without("chromium", "no Chromium is installed to lay the page out")
    rows = scored_rows(tmp_path, tuple(range(1, 7)), label=3, label_name="x" * 200, label_probability=0.5)
    rows[0].uri = f"/gone/{'long-name-' * 30}.jpg"
    uris = [make_run(tmp_path / ("folder" * 20 + str(number)), rows) for number in range(3)]
    report(tmp_path / "report", *uris, options=("--images", "1"))
    # In a frame, so that the page is as wide as a phone however wide the browser's own window has to be.
    content = escape((tmp_path / "report" / "report.html").read_text())
    measure = """onload = () => {
        const page = document.querySelector("iframe").contentDocument;
        const images = [...page.images];
        const loaded = images.filter(image => image.complete && image.naturalWidth > 0).length;
        const plots = [...page.querySelectorAll("svg")].map(svg => svg.getBoundingClientRect().width);
        const root = page.documentElement;
        document.title = [root.scrollWidth - root.clientWidth, images.length, loaded, Math.min(...plots)].join(" ");
    };"""
    frame = f'<iframe width="{width}" height="900" style="border: 0" srcdoc="{content}"></iframe>'
    (tmp_path / "frame.html").write_text(f"<!DOCTYPE html><title></title><script>{measure}</script>{frame}")
    options = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    options += f" --disable-component-update --disable-sync --user-data-dir={tmp_path}/profile --dump-dom"
    command = [browser, *options.split(), f"file://{tmp_path}/frame.html"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=180).stdout
    title = re.search(r"<title>(.*?)</title>", printed)
    assert title is not None
    overflow, images, loaded, narrowest_plot = (float(value) for value in title.group(1).split())
    assert overflow == 0
    assert loaded == images > 0
    assert narrowest_plot > 250
