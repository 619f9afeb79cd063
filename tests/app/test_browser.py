"""The page in a real browser: headless Chromium, WebGL in software."""

import json
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("flask")
pytest.importorskip("playwright.sync_api", reason="playwright is not installed: no browser tests")

import psutil
from playwright.sync_api import sync_playwright

from continuousflex_dl.core.space.recipe import Recipe
from continuousflex_dl.core.space.result import Space
from continuousflex_dl.tests.web_client import WebClient

pytestmark = pytest.mark.browser

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
SOFTWARE_GL = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")
PAINT_S, LASSO_S, MEMORY_MB = 5.0, 1.0, 2000.0
WAIT_MS = 180_000


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium): no browser tests")
    with sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=list(SOFTWARE_GL))
        yield found
        found.close()


class Page:
    """A page of the viewer, and everything that it asked for and complained of."""

    def __init__(self, browser, client):
        self.context = browser.new_context(viewport={"width": 1400, "height": 860}, accept_downloads=True)
        self.requests, self.errors = [], []
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.page = self.context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("response", self._note)
        self.client = client

    def _note(self, response):
        if response.status >= 400:
            self.errors.append(f"{response.status} {response.url}")

    def open(self):
        self.page.goto(self.client.address)
        self.page.wait_for_function("document.body.dataset.ready")
        return self

    def data(self, selector, name):
        return self.page.evaluate(f"document.querySelector({selector!r})?.dataset[{name!r}]")

    def until(self, expression):
        self.page.wait_for_function(expression, polling=20)

    def lasso(self, corners):
        """Draw an outline, corners as shares of the plot's width and height; gives them in units of the axes."""
        self.page.evaluate("delete document.querySelector('.bench').dataset.lassoMs")
        box = self.page.evaluate(
            "(() => { const b = document.querySelector('.plot').getBoundingClientRect();"
            "const { xaxis: x, yaxis: y } = document.querySelector('.plot')._fullLayout;"
            "return [b.left + x._offset, b.top + y._offset, x._length, y._length, ...x.range, ...y.range] })()"
        )
        left, top, width, height = box[:4]
        places = [(left + share_x * width, top + share_y * height) for share_x, share_y in corners]
        self.drag([*places, places[0]], release=False)
        begin = time.perf_counter()
        self.page.mouse.up()
        self.until("document.querySelector('.bench').dataset.lassoMs")
        return time.perf_counter() - begin

    def drag(self, places, *, release=True):
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*place, steps=4)
        if release:
            self.page.mouse.up()

    def check(self):
        """Nothing failed, and nothing left this computer."""
        assert not self.errors
        outside = [url for url in self.requests if not url.startswith((self.client.base + "/", "data:", "blob:"))]
        assert not outside
        assert len(self.requests) > 10

    def close(self):
        self.context.close()


def viewer(*folders, workspace=None):
    words = [str(folders[0]), *(word for folder in folders[1:] for word in ("--also", str(folder)))]
    words += ["-o", str(workspace)] if workspace else []
    return WebClient([sys.executable, "-m", "continuousflex_dl", "view", *words])


@pytest.fixture
def opened(browser):
    pages = []

    def open_page(client):
        pages.append(Page(browser, client))
        return pages[-1].open()

    yield open_page
    for page in pages:
        page.close()


SQUARE = [(0.1, 0.1), (0.6, 0.12), (0.62, 0.9), (0.12, 0.88)]


def test_select_group_play_and_export(results, tmp_path, opened):
    space = Space.load(results["space"])
    with viewer(results["space"], workspace=tmp_path) as client:
        shown = opened(client)
        page = shown.page
        shown.until("document.querySelector('.mol').dataset.shown")

        # lasso: the selection is that of the recipe which the page sent
        shown.lasso(SQUARE)
        count = int(shown.data(".bench", "selected"))
        recipe = Recipe.load(tmp_path / "current.json")
        columns = {f"cflexSpace{axis + 1}": values for axis, values in enumerate(space.coordinates.T)}
        assert count == np.count_nonzero(recipe.mask(columns, len(space.coordinates)) & space.converged)
        assert 0 < count < len(space.coordinates)
        assert page.evaluate("window.cflex.active.motion.last") is None  # drawing is no click, wherever it ends

        # saved under a name, undone, done again
        page.fill("#name", "drawn")
        page.click("#save")
        shown.until("document.querySelector('#saved li[data-name=drawn]')")
        assert (tmp_path / "selections" / "drawn.json").is_file()
        page.click("#undo")
        shown.until("!document.querySelector('#saved li[data-name=drawn]')")
        assert not (tmp_path / "selections" / "drawn.json").exists()
        page.click("#redo")
        shown.until("document.querySelector('#saved li[data-name=drawn]')")

        # thumbnails: the particle, and the model beside it
        shown.until("[...document.querySelectorAll('#gallery img')].filter((i) => i.naturalWidth > 0).length >= 4")

        # a group and its map, by the command that is shown
        page.locator("label:has-text('+ map') input").check()
        page.click("#group")
        shown.until("document.querySelector('#jobs details[data-state=done]')")
        command = page.inner_text("#command")
        assert command.startswith(f"cflex group {results['space']} --selection {tmp_path}/selections/drawn.json")
        assert command.endswith("--reconstruct")
        page.click("#jobs summary")
        page.click("#jobs li:has-text('group_01.mrc') button:has-text('Show')")
        shown.until("document.querySelector('.mol').dataset.maps === '1'")
        with page.expect_download() as download:
            page.click("#jobs a:has-text('group_01.star')")
        lines = Path(download.value.path()).read_text().splitlines()
        assert sum("@" in line for line in lines) == count

        # the path plays; the sliders bend the structure; Ctrl+Z takes back the lasso
        page.keyboard.press("Escape")
        page.click("button.play")
        shown.until("Number(document.querySelector('.mol').dataset.frame) >= 3")
        page.click("button.play")
        before = int(shown.data(".mol", "shown"))
        page.click("summary:has-text('Amplitudes')")
        page.locator("input[aria-label='Amplitude of mode 7, Å']").fill("20")
        shown.until(f"Number(document.querySelector('.mol').dataset.shown) > {before}")
        page.locator("label:has-text('map') input").first.check()
        shown.until("document.querySelector('.mol').dataset.maps === '2'")
        before = int(shown.data(".mol", "shown"))
        page.locator("label:has-text('follow cursor') input").check()
        box = page.locator(".plot").bounding_box()
        page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.4 * box["height"])
        shown.until(f"Number(document.querySelector('.mol').dataset.shown) > {before}")
        page.click("#animate")
        shown.until("document.querySelectorAll('#jobs details[data-state=done]').length === 2")
        assert "cflex animate" in page.inner_text("#command")
        assert shown.data(".bench", "selected") == "0"

        # a click shows the structure of a place, a button writes it, with its map; the figure has the place
        page.locator("label:has-text('follow cursor') input").uncheck()
        before = int(shown.data(".mol", "shown"))
        place = box["x"] + 0.6 * box["width"], box["y"] + 0.5 * box["height"]
        page.mouse.click(*place)
        shown.until(f"Number(document.querySelector('.mol').dataset.shown) > {before}")
        expected = page.evaluate("window.cflex.active.motion.last.place")
        page.click("button.write")
        shown.until("document.querySelectorAll('#jobs details[data-state=done]').length === 3")
        command = page.inner_text("#command")
        at = [float(number) for number in command.split("--at=")[1].split()[0].split(",")]
        np.testing.assert_allclose(at, [expected["cflexSpace1"], expected["cflexSpace2"]], rtol=1e-5)
        assert command.endswith("--maps")
        assert {path.name for path in (tmp_path / "results" / "structure").iterdir()} >= {"place.cif", "place.mrc"}
        with page.expect_download() as download:
            page.click("button:has-text('SVG')")
        assert b"<svg" in Path(download.value.path()).read_bytes()
        assert page.inner_text("#command").startswith(f"cflex plot {results['space']} --x cflexSpace1 --y cflexSpace2")
        assert "--axis 1 --at=cflexSpace1=" in page.inner_text("#command")
        page.click("h1")
        page.keyboard.press("Control+z")
        shown.until(f"document.querySelector('.bench').dataset.selected === '{count}'")

        # a condition takes away from it, a third axis makes it three-dimensional, and it all stays
        page.click("button[data-value=keep]")
        page.fill("input[aria-label='Condition on columns']", "cflexScore > 0.5")
        page.keyboard.press("Enter")
        shown.until(f"Number(document.querySelector('.bench').dataset.selected) < {count}")
        count = int(shown.data(".bench", "selected"))
        assert count > 0
        bars = page.locator(".hist").first
        bars.scroll_into_view_if_needed()
        box = bars.bounding_box()
        shown.drag([(box["x"] + share * box["width"], box["y"] + 40) for share in (0.3, 0.7)])
        shown.until(f"Number(document.querySelector('.bench').dataset.selected) < {count}")
        assert "cflexSpace1 >=" in (tmp_path / "current.json").read_text()
        count = int(shown.data(".bench", "selected"))
        page.click("h1")
        page.keyboard.press("p")
        box = page.locator(".plot").bounding_box()
        places = [(0.3, 0.6), (0.5, 0.3), (0.7, 0.5)]
        shown.drag([(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places])
        shown.until("document.querySelector('select[aria-label=Path]').value === 'path'")
        page.select_option("select[aria-label='Z']", "cflexScore")
        shown.until("document.querySelector('.plot .gl-container canvas, .plot #scene')")
        page.keyboard.press("Tab")
        shown.check()

    # a second start has the selection, and what was selected last
    with viewer(results["space"], workspace=tmp_path) as client:
        shown = opened(client)
        shown.until("document.querySelector('#saved li[data-name=drawn]')")
        shown.until(f"document.querySelector('.bench').dataset.selected === '{count}'")
        shown.check()


def test_modes_move_and_stand_beside_a_space(results, tmp_path, opened):
    with viewer(results["modes"], results["space"], results["other"], workspace=tmp_path) as client:
        shown = opened(client)
        page = shown.page
        assert page.locator(".bench").count() == 2
        rows = page.locator("tbody tr")
        assert [text.split()[0] for text in rows.all_inner_texts()] == ["7", "8", "9", "10"]
        shown.until("[...document.querySelectorAll('.mol')].every((m) => m.dataset.shown)")
        before = int(shown.data(".mol", "shown"))
        rows.nth(1).click()
        shown.until(f"Number(document.querySelector('.mol').dataset.shown) > {before + 3}")

        # what is selected in one of two results is marked in the other, where it has the same particles
        page.locator("select[aria-label=Result]").nth(0).select_option("2")
        shown.until("document.querySelector('.plot')?.dataset.points === '50'")
        shown.lasso(SQUARE)
        count = int(shown.data(".bench", "selected"))
        beside = ".bench:nth-child(2)"
        shown.until(f"document.querySelector('{beside}').dataset.linked === '{count}'")
        text = page.inner_text(f"{beside} .holder + .note")
        assert f"{count} of the {count} selected beside are here, marked by crosses" in text
        page.locator(f"{beside} .note").first.click()
        page.click("button:has-text('SVG')")
        shown.until("document.querySelector('#jobs details[data-state=done]')")
        command = page.inner_text("#command")
        assert command.startswith(f"cflex plot {results['space']} ")
        assert f"--beside {results['other']} --beside-selection " in command
        page.locator(".bench:nth-child(1) .note").first.click()
        page.keyboard.press("Escape")
        shown.until(f"document.querySelector('{beside}').dataset.linked === undefined")
        shown.check()


def test_page_without_the_token_is_refused(results, tmp_path, browser):
    with viewer(results["modes"], workspace=tmp_path) as client:
        context = browser.new_context()
        page = context.new_page()
        assert page.goto(client.base + "/").status == 403
        assert "cflex view" not in page.content()
        context.close()


def cpu_seconds():
    """CPU time of every process that this one started, directly or not."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return total


def test_million_particles(million, tmp_path, browser, capsys):
    with viewer(million, workspace=tmp_path) as client:
        server = psutil.Process(client.pid)
        for _ in range(3):  # each with an empty cache; the first, unless the computer was busy with something else
            shown = Page(browser, client)
            cpu, begin = cpu_seconds(), time.perf_counter()
            shown.page.goto(client.address)
            shown.until("document.querySelector('.plot')?.dataset.points")
            paint = time.perf_counter() - begin
            paint_cpu = cpu_seconds() - cpu
            if min(paint, paint_cpu) < PAINT_S:
                break
            shown.close()
        assert int(shown.data(".plot", "points")) == 20_000
        assert "20,000 of" in shown.page.inner_text(".holder + .note")
        shown.until("document.body.dataset.ready")
        shown.lasso(SQUARE)
        times = []
        for shift in (0.0, 0.05, 0.1):
            cpu = cpu_seconds()
            wall = shown.lasso([(x + shift, y) for x, y in SQUARE])
            times.append((wall, cpu_seconds() - cpu))
        recipe = Recipe.from_dict(json.loads((tmp_path / "current.json").read_text()))
        coordinates = Space.load(million).coordinates
        columns = {f"cflexSpace{axis + 1}": values for axis, values in enumerate(coordinates.T)}
        count = np.count_nonzero(recipe.mask(columns, len(coordinates)))
        assert int(shown.data(".bench", "selected")) == count > 100_000
        # the particle file is read meanwhile, by a process of its own
        shown.until("document.querySelectorAll('.hist .plot-container').length === 3")
        family = [server, *server.children(recursive=True)]
        memory = sum(process.memory_info().rss for process in family) / 1e6
        shown.errors = [error for error in shown.errors if "/image/" not in error]  # there are no images
        shown.check()
        shown.close()
    lasso, lasso_cpu = min(times)
    with capsys.disabled():
        print(
            f"\n1,000,000 particles, WebGL in software: first paint {paint:.2f} s ({paint_cpu:.2f} s of CPU), "
            f"lasso {lasso:.2f} s ({lasso_cpu:.2f} s of CPU), memory of the server {memory:.0f} MB"
        )
    # on a computer that does other things the clock says little: the work itself must then fit into the time
    assert min(paint, paint_cpu) < PAINT_S
    assert min(lasso, lasso_cpu) < LASSO_S
    assert memory < MEMORY_MB
