# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import io
import json

import pytest

from harness.progress import Progress, Step, Tail, bar_line, duration, number, parse_steps, plain_line
from harness.screen import PlainScreen, Row, TerminalScreen, render


def progress(*steps: tuple[float, float], asked: float = 4000, task: str = "fill 1/3") -> Progress:
    found = Progress()
    for at, done in steps:
        found.add(Step(done, asked, "pods bound", at, task))
    return found


HALF = progress((100, 0), (110, 2000))


def test_the_rate_is_that_of_the_last_seconds():
    assert HALF.rate == 200
    assert HALF.seconds_left == 10
    stalled = progress(*((second, 2000) for second in range(100)))
    assert (stalled.rate, stalled.seconds_left) == (0, None)


def test_a_new_task_starts_the_rate_anew():
    found = progress((0, 0), (10, 1000))
    found.add(Step(0, 4000, "pods bound", 11, "fill 2/3"))
    assert (found.rate, found.seconds_left) == (None, None)


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (80, "fill 1/3  [############............] 2,000/4,000 pods bound  200/s  10 s left"),
        (70, "[############............] 2,000/4,000 pods bound  200/s  10 s left"),
        (60, "[############............] 2,000/4,000  200/s  10 s left"),
        (49, "[########........] 2,000/4,000  200/s  10 s left"),
        (40, "[####....] 2,000/4,000  200/s  10 s left"),
        (30, "2,000/4,000  200/s  10 s left"),
        (11, "2,000/4,000"),
        (5, "2,000"),
        (0, ""),
        (-3, ""),
    ],
)
def test_a_bar_fits_its_width(width, line):
    assert bar_line(HALF, width) == line


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (Progress(), "suite: working"),
        (HALF, "suite: fill 1/3: 2,000 of 4,000 pods bound, 200/s, 10 s left"),
        (progress((0, 1), task=""), "suite: 1 of 4,000 pods bound"),
        (progress((0, 5), asked=0), "suite: fill 1/3: 5 pods bound"),
    ],
)
def test_plain_lines(found, line):
    assert plain_line("suite", found) == line


def test_no_bar_is_drawn_while_it_is_not_known_how_many_are_asked_for():
    assert bar_line(progress((0, 5), (10, 25), asked=0), 80) == "fill 1/3  25 pods bound  2/s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.34, "9.3 s"), (75, "75 s"), (245, "4 min 05 s"), (7380, "2 h 03 min")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("value", "text"), [(1234, "1,234"), (0.25, "0.2"), (12.5, "12"), (3.0, "3")])
def test_numbers(value, text):
    assert number(value) == text


def test_lines_that_are_no_progress_are_passed_over():
    good = {"done": 1, "asked": 2, "unit": "u", "at": 3, "task": "t"}
    lines = [json.dumps(good).encode(), b"{", b"[]", b'{"done": "x"}', b"null", b"7"]
    assert parse_steps(lines) == [Step(1, 2, "u", 3, "t")]


def test_a_tail_gives_whole_lines_once(tmp_path):
    path = tmp_path / "progress.jsonl"
    tail = Tail(path)
    assert tail.lines() == []
    path.write_bytes(b"one\ntw")
    assert tail.lines() == [b"one"]
    with path.open("ab") as file:
        file.write(b"o\nthree\n")
    assert tail.lines() == [b"two", b"three"]
    assert tail.lines() == []


def rows() -> list[Row]:
    return [
        Row("start", "finished", 1.0),
        Row("scheduler_scale", "running", 12.0, progress=HALF),
        Row("mesh", "running", 3.0, activity="Install the tools"),
        Row("gpu", "failed", 3.0, activity="the reason"),
        Row("calico", "skipped", activity="not selected by the tags"),
        Row("report"),
    ]


def test_one_line_a_stage():
    assert render(rows(), 100) == [
        "+ start                  1.0 s",
        "> scheduler_scale         12 s  [############............] 2,000/4,000 pods bound  200/s  10 s left",
        "> mesh                   3.0 s  Install the tools",
        "! gpu                    3.0 s  the reason",
        "- calico                        not selected by the tags",
        "  report",
    ]


@pytest.mark.parametrize("width", [0, 1, 20, 33, 50, 80, 200])
def test_no_line_is_wider_than_the_screen(width):
    assert all(len(line) <= width for line in render(rows(), width))


def test_a_redraw_is_one_write_over_the_lines_before(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    writes = []
    out = io.StringIO()
    monkeypatch.setattr(out, "write", writes.append)
    screen = TerminalScreen(out, [Row("a"), Row("b")], colour=False)
    screen.tick()
    screen.note("a word")
    screen.tick()
    assert writes == [
        "\r  a\x1b[K\n  b\x1b[K\n\x1b[J",
        "\x1b[2A\ra word\x1b[K\n  a\x1b[K\n  b\x1b[K\n\x1b[J",
        "\x1b[2A\r  a\x1b[K\n  b\x1b[K\n\x1b[J",
    ]


def test_colours_are_ansibles_own():
    assert render([Row("a", "finished", 1.0)], 40, colour=True) == ["\x1b[32m+ a        1.0 s\x1b[0m"]


def test_a_plain_screen_says_when_stages_begin_and_end():
    out = io.StringIO()
    row = Row("start", "running")
    screen = PlainScreen(out, [row])
    screen.started(row)
    screen.tick()
    row.state, row.seconds = "finished", 2.0
    screen.ended(row)
    assert [line[9:] for line in out.getvalue().splitlines()] == ["start: started", "start: finished after 2.0 s"]


def test_a_plain_screen_says_every_ten_seconds_how_far_it_is(monkeypatch):
    now = 0.0
    monkeypatch.setattr("harness.screen.time.monotonic", lambda: now)
    out = io.StringIO()
    screen = PlainScreen(
        out, [Row("suite", "running", progress=HALF), Row("mesh", "running", activity="Pull"), Row("x")]
    )
    for now in range(25):  # noqa: B007 - read by the clock above
        screen.tick()
    assert [line[9:] for line in out.getvalue().splitlines()] == [
        "suite: fill 1/3: 2,000 of 4,000 pods bound, 200/s, 10 s left",
        "mesh: Pull",
    ] * 2


def test_a_terminal_that_is_gone_does_not_end_the_run():
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    PlainScreen(Gone(), []).note("teardown goes on")
