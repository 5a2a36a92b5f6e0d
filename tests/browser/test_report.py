# SPDX-License-Identifier: GPL-3.0-or-later
"""report.html opened from the disk in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.report import report
from tests.browser.devtools import Page, browser, opened_report
from tests.fakes.run_builder import OFF, SUBJECT, SUITE, Run, Shape, build

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(browser() is None, reason="no chromium here: apt-get install chromium"),
]
CHARTS = "[...document.querySelectorAll('.chart')]"


def over_capacity(run: Run) -> None:
    run.loads(OFF)[0]["values"]["max_gpus_on_a_node"] = 9


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The report of a run with a throttled scheduler and one invalid scenario."""
    root = tmp_path_factory.mktemp("report")
    html = report(build(root, Shape(pods=800, qps=20, burst=100), edits=[over_capacity])).html
    with opened_report(html, tmp_path_factory.mktemp("profile")) as found:
        yield found


def test_it_asks_the_network_for_nothing_and_has_nothing_to_complain_of(opened: Page) -> None:
    opened.look(width=1000, scheme="dark")
    opened.look()
    asked = [url for url in opened.requests if not url.startswith(("data:", "about:"))]
    assert [url.rpartition("/")[2] for url in asked] == ["report.html"]
    assert asked[0].startswith("file://")
    assert opened.complaints == []


def test_every_chart_is_drawn(opened: Page) -> None:
    # Three a scenario: milestones and two distributions, of three repeats each.
    lines = opened.evaluate(f"{CHARTS}.map(c => c.querySelectorAll('.scatterlayer .trace path.js-line').length)")
    assert lines == [9, 3, 3] * 2


def test_it_follows_the_readers_colours(opened: Page) -> None:
    style = "getComputedStyle(document.querySelector('{}')).{}"
    colours = f"[{style.format('body', 'backgroundColor')}, {style.format('.xtick text', 'fill')}]"
    opened.look(scheme="light")
    light = opened.evaluate(colours)
    opened.look(scheme="dark")
    dark = opened.evaluate(colours)
    opened.look(scheme="light")
    assert light[0] == "rgb(255, 255, 255)"
    assert [before != after for before, after in zip(light, dark, strict=True)] == [True, True]


@pytest.mark.parametrize("width", [360, 768, 1280, 2200])
def test_it_fits_the_width_of_its_window(opened: Page, width: int) -> None:
    opened.look(width=width)
    sizes = opened.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    opened.look()
    assert sizes[0] <= sizes[1] == width


def test_every_heading_of_a_table_says_what_it_is_a_heading_of(opened: Page) -> None:
    assert opened.evaluate("document.querySelectorAll('th').length") > 100
    assert opened.evaluate("document.querySelectorAll('th:not([scope])').length") == 0
    assert opened.evaluate(f"{CHARTS}.filter(c => !c.getAttribute('aria-label')).length") == 0
    assert opened.evaluate("new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size") == opened.evaluate(
        "document.querySelectorAll('[id]').length"
    )


def test_a_click_on_a_metric_unfolds_its_record(opened: Page) -> None:
    name = f"{SUITE}-fill_scheduler_on-{SUBJECT}-bind_all_seconds-record"
    is_open = f"document.getElementById('{name}').open"
    assert opened.evaluate(is_open) is False
    opened.evaluate(f"document.querySelector('a[href=\"#{name}\"]').click()")
    opened.look()
    assert opened.evaluate(is_open) is True


def test_invalid_records_stand_open(opened: Page) -> None:
    opened_at_first = f"[...document.querySelectorAll('details[id*=\"-{OFF}-\"]')].filter(d => d.open).length"
    assert opened.evaluate(opened_at_first) == 7


def test_text_stands_out_from_its_background(opened: Page) -> None:
    """Contrast of at least 4.5 to 1 (WCAG 2.2, 1.4.3) for every colour of text, in both schemes."""
    names = ("text", "soft", "link", "good", "bad", "doubt", "calm", "odd")
    variable = "(n) => getComputedStyle(document.documentElement).getPropertyValue('--' + n).trim()"
    for scheme in ("light", "dark"):
        opened.look(scheme=scheme)
        for background in ("page", "card"):
            found = opened.evaluate(f"['{background}', ...{list(names)}].map({variable})")
            ratios = {name: contrast(colour, found[0]) for name, colour in zip(names, found[1:], strict=True)}
            assert {name: ratio for name, ratio in ratios.items() if ratio < 4.5} == {}
    opened.look()


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb as WCAG defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_report_lies_in_the_run(opened: Page) -> None:
    assert Path(opened.evaluate("decodeURIComponent(location.pathname)")).name == "report.html"
