# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m harness overhead` as a user and as the role call it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from harness.cli import main
from tests.fakes.overhead_runs import RUN_ID, blocks, slower

OBJECTIVE = {"objectives": {"compute": 0.05}}
#: 1,000 launches in 10 ms of work.
TRACE = "call,bytes,count,seconds\nlaunch,,1000,\nwait,,1,0.01\n"
Written = Callable[..., Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """The folder of a run whose proxy costs so much, as the role leaves it."""

    def write(factor: float, added: float = 0.0, count: int = 8) -> Path:
        folder = tmp_path / RUN_ID
        folder.mkdir()
        lines = []
        for number, run in enumerate(blocks(count, {"proxy": slower(factor, added)}, {"proxy": OBJECTIVE})):
            data = "".join(json.dumps(line) + "\n" for line in run.lines).encode()
            (folder / f"{number}.jsonl").write_bytes(data)
            samples = {"path": f"{number}.jsonl", "sha256": hashlib.sha256(data).hexdigest(), "rows": len(run.lines)}
            lines.append(json.dumps({**asdict(run.observation), "samples": samples}))
        (folder / "observations.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return folder

    return write


@pytest.mark.parametrize(
    ("factor", "count", "decided", "more"),
    [(1.0, 8, True, False), (1.12, 8, True, False), (1.049, 8, False, True), (1.0, 3, False, True)],
)
def test_the_role_is_told_whether_all_is_decided_and_else_how_many_more_blocks_would(
    written: Written, capsys: pytest.CaptureFixture[str], factor: float, count: int, decided: bool, more: bool
) -> None:
    assert main(["overhead", "decided", str(written(factor, count=count)), "isolation"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["decided"], told["blocks"], told["more_blocks"] > 0) == (decided, count, more), told


def test_a_program_is_predicted_from_its_calls(written: Written, capsys: pytest.CaptureFixture[str]) -> None:
    """Native: 4 µs a launch, so 14 ms; behind a proxy of 7 µs a call it is half as much again."""
    folder = written(1.0, added=7e-6)
    (folder / "trace.csv").write_text(TRACE, encoding="utf-8")
    assert main(["overhead", "predict", str(folder), "isolation", str(folder / "trace.csv")]) == 0
    [row] = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("proxy")]
    assert row[1:5] == ["14", "ms", "21", "ms"]
    assert float(row[5]) == pytest.approx(50, abs=0.5)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["predict", "RUN", "isolation"], "predict: which file?"),
        (["predict", "RUN", "isolation", "RUN/none.csv"], "read the trace"),
        (["decided", "RUN", "other"], "There are: isolation."),
        (["decided", "RUN/none", "isolation"], "no observations.jsonl in it"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    written: Written, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    folder = str(written(1.0, count=1))
    assert main(["overhead", *(one.replace("RUN", folder) for one in arguments)]) == 2
    assert says in capsys.readouterr().err
