# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a mesh of 4,704 cells in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.report import report
from tests.browser.devtools import Page, browser, opened_report
from tests.fakes.mesh_run_builder import FULL, MeshShape, build, cells, fail, recount
from tests.fakes.run_builder import Run

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(browser() is None, reason="no chromium here: apt-get install chromium"),
]
CHARTS = "[...document.querySelectorAll('.chart')]"


def one_fails(run: Run) -> None:
    fail(cells(run)[0], "unable to connect to server")
    cells(run)[1]["remote_is_local"] = True
    recount(run)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    html = report(build(tmp_path_factory.mktemp("report"), MeshShape(groups=FULL), edits=[one_fails])).html
    with opened_report(html, tmp_path_factory.mktemp("profile")) as found:
        yield found


def test_it_asks_the_network_for_nothing_and_has_nothing_to_complain_of(opened: Page) -> None:
    opened.look(scheme="dark")
    opened.look()
    asked = [url for url in opened.requests if not url.startswith(("data:", "about:"))]
    assert [url.rpartition("/")[2] for url in asked] == ["report.html"]
    assert opened.complaints == []


def test_every_chart_is_drawn(opened: Page) -> None:
    drawn = "c.querySelectorAll('.heatmaplayer image, .scatterlayer .trace, .barlayer .trace').length"
    # An interface: the map (with failed and unproven cells on eth0), goodput, rounds, sent again, processors.
    assert opened.evaluate(f"{CHARTS}.map(c => {drawn})") == [3, 1, 2, 1, 2, 1, 1, 2, 1, 2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_figure_follows_the_readers_colours(opened: Page, scheme: str) -> None:
    opened.look(scheme=scheme)
    wanted = "getComputedStyle(document.documentElement).getPropertyValue('--line').trim()"
    assert opened.evaluate(f"{CHARTS}[0]._fullLayout.plot_bgcolor === {wanted}") is True
    opened.look()


def test_a_cell_can_be_pointed_at(opened: Page) -> None:
    text = opened.evaluate(f"{CHARTS}[0]._fullData[0].text[3][4]")
    assert text.startswith("lb-bgp-0 → lb-bgp-1<br>198.18.0.13 → 198.18.0.14, 1 proven")


@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_the_width_of_its_window(opened: Page, width: int) -> None:
    opened.look(width=width)
    sizes = opened.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    opened.look()
    assert sizes[0] <= sizes[1] == width
