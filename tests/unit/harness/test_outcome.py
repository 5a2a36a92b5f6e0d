# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import signal

import pytest

from harness import exit_codes
from harness.attempt import Seen, errors_in, outcome, read_failure, session_of
from harness.interrupt import Interrupt
from harness.runner import failure_text, message_of

PLAYED = Seen(plays=1, task="Measure")
FAILED = Seen(plays=1, task="Measure", failure="Measure: boom")


@pytest.mark.parametrize(
    ("rc", "said", "seen", "interrupted", "expected"),
    [
        (0, {}, PLAYED, "", (0, "")),
        (0, {}, PLAYED, "interrupted by SIGINT", (0, "")),
        (0, {"reason": "no API server"}, PLAYED, "", (3, "no API server")),
        (0, {"reason": "wrong size", "exit_code": 2}, PLAYED, "", (2, "wrong size")),
        (0, {"reason": "stopped"}, PLAYED, "interrupted by SIGINT", (130, "stopped")),
        (None, {}, PLAYED, "interrupted by SIGTERM", (130, "interrupted by SIGTERM in 'Measure'")),
        (None, {}, PLAYED, "", (3, "ansible-playbook was killed in 'Measure'")),
        (2, {}, FAILED, "", (3, "Measure: boom")),
        (2, {}, Seen(1, "Start", "Start: no such tag", 2), "", (2, "Start: no such tag")),
        (2, {}, Seen(1, "Start", "Start: odd", 77), "", (3, "Start: odd")),
        (4, {}, Seen(0, lines=["[ERROR]: no such file"]), "", (2, "[ERROR]: no such file")),
        (4, {}, Seen(1, lines=["x", "[ERROR]: couldn't resolve module"]), "", (3, "[ERROR]: couldn't resolve module")),
        (5, {}, PLAYED, "", (2, "ansible-playbook ended with 5, silently")),
        (99, {}, PLAYED, "", (130, "ansible-playbook ended with 99, silently")),
        (250, {}, PLAYED, "", (3, "ansible-playbook ended with 250, silently")),
    ],
)
def test_what_the_end_of_a_stage_means(rc, said, seen, interrupted, expected):
    assert outcome(rc, said, seen, interrupted) == expected


@pytest.mark.parametrize(("check", "expected"), [(True, (3, "T: no")), (False, (0, ""))])
def test_a_check_run_that_was_rescued_would_have_failed(check, expected):
    seen = Seen(plays=1, failure="T: no", rescued=True)
    assert outcome(0, {}, seen, "", check=check) == expected


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([], 0),
        ([0, 1], 1),
        ([1, 4, 0], 4),
        ([4, 3], 3),
        ([3, 2, 4], 2),
        ([2, 130, 3], 130),
        ([77, 1], 3),
        ([77, 2], 2),
    ],
)
def test_the_worst_exit_code_wins(codes, expected):
    assert exit_codes.worst(codes) == expected


@pytest.mark.parametrize(("rc", "code"), [(0, 0), (1, 3), (2, 3), (4, 3), (5, 2), (99, 130), (250, 3), (None, 3)])
def test_ansibles_exit_codes_have_ours(rc, code):
    assert exit_codes.of_ansible(rc) == code


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ([], ""),
        (["one", "two"], "one\ntwo"),
        (["PLAY", "[ERROR]: first", "x", "[ERROR]: last\norigin"], "[ERROR]: last\norigin"),
        (["usage: …", "ansible-playbook: error: no such option"], "ansible-playbook: error: no such option"),
        ([str(line) for line in range(40)], "\n".join(str(line) for line in range(28, 40))),
    ],
)
def test_errors_that_are_no_tasks_are_found_in_the_output(lines, text):
    assert errors_in(lines) == text


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ({"msg": "no"}, "no"),
        ({"msg": "", "stderr": " bad \n"}, "bad"),
        ({"msg": ["a", "b"]}, "a\nb"),
        ({"rc": 1}, "failed without a message"),
        ("censored", "censored"),
    ],
)
def test_the_message_of_a_result(result, text):
    assert message_of(result) == text


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"event": "runner_on_ok", "event_data": {"res": {"msg": "x"}}}, None),
        ({"event": "runner_on_failed", "event_data": {"task": "T", "res": {"msg": "x"}}}, "T: x"),
        ({"event": "runner_on_failed", "event_data": {"task": "T", "ignore_errors": True}}, None),
        ({"event": "runner_on_unreachable", "event_data": {"task": "T", "res": {"msg": "x"}}}, "T: x"),
        ({"event": "runner_on_failed"}, "a task: None"),
        (
            {"event": "runner_on_failed", "event_data": {"task": "T", "res": {"msg": "no tag x", "exit_code": 2}}},
            "no tag x",
        ),
    ],
)
def test_which_events_tell_of_a_failure(event, text):
    assert failure_text(event) == text


@pytest.mark.parametrize(
    ("result", "found"),
    [
        ({"ansible_facts": {"nightbench_session": {"results": "r", "state": "s"}}}, True),
        ({"ansible_facts": {"nightbench_session": {"results": "r", "state": None}}}, False),
        ({"ansible_facts": {"nightbench_session": "x"}}, False),
        ({"ansible_facts": None}, False),
        ({}, False),
    ],
)
def test_a_session_is_known_by_its_places(result, found):
    assert (session_of(result) is not None) == found


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_damaged_failure_file_still_says_that_the_stage_failed(tmp_path, text):
    (tmp_path / "FAILURE").write_text(text)
    assert read_failure(tmp_path) == {"reason": f"{tmp_path}/FAILURE is damaged"}


def test_no_failure_file_is_no_failure(tmp_path):
    assert read_failure(tmp_path) == {}


class Listener:
    def __init__(self) -> None:
        self.said: list[str] = []
        self.now = 0.0
        self.interrupt = Interrupt(self.said.append, lambda: self.now)

    def signal(self, after: float = 1.0) -> Interrupt:
        self.now += after
        self.interrupt.receive(signal.SIGINT)
        self.interrupt.tick()
        return self.interrupt


def test_three_signals_stop_explain_and_force():
    listener = Listener()
    states = [(listener.signal().requested, listener.interrupt.forced) for _ in range(4)]
    assert states == [(True, False), (True, False), (True, True), (True, True)]
    assert [text.partition(";")[0] for text in listener.said] == [
        "SIGINT: stopping what runs, then report and teardown",
        "SIGINT: the stage is still stopping, teardown comes next",
        "SIGINT: forced. 'python -m harness clean' ends what is left behind",
    ]


def test_one_wish_that_arrives_twice_is_one():
    listener = Listener()
    listener.signal()
    assert not listener.signal(after=0.1).forced
    assert len(listener.said) == 1


def test_during_teardown_a_signal_says_that_it_is_under_way():
    listener = Listener()
    listener.interrupt.tearing_down = True
    listener.signal()
    listener.signal()
    assert [text.partition(";")[0] for text in listener.said] == [
        "SIGINT: the run is being torn down already",
        "SIGINT: teardown is under way",
    ]


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with Interrupt(print):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
