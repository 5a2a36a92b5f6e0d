# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fault planted in a mesh is found and named; a clean mesh stays clean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import judge
from harness.mesh import evidence, proof
from harness.model import Record
from harness.results import RunFolder
from tests.fakes.mesh_run_builder import (
    METRICS,
    RINGS,
    MeshShape,
    address,
    build,
    cells,
    counters,
    fail,
    mesh,
    recount,
)
from tests.fakes.run_builder import Run

SHAPE = MeshShape(groups=(("mesh", 2), ("mg", 4)))
GOODPUT = "goodput_bytes_per_second"
Edit = Callable[[Run], None]


def judged(run: RunFolder, subject: str = "eth0") -> dict[str, Record]:
    found = judge.records(judge.gather(run), {})
    return {record.metric: record for record in found if record.subject == subject}


def broken(record: Record) -> dict[str, str]:
    return {item.name: item.observed for item in record.evidence if not item.holds}


def first(**values: Any) -> Edit:
    """The first cell says something else."""

    def edit(run: Run) -> None:
        cells(run)[0] |= values

    return edit


def say(**values: Any) -> Edit:
    """The observation says something else (a__b for values.a.b)."""

    def edit(run: Run) -> None:
        for path, value in values.items():
            *way, last = path.split("__")
            target = mesh(run)["values"]
            for key in way:
                target = target[key]
            target[last] = value

    return edit


def count(interface: str = "eth0", **times: float) -> Edit:
    """What the counters of the first cell's sender moved, many times over (or so little of it)."""

    def edit(run: Run) -> None:
        cell = cells(run)[0]
        for row in counters(run):
            if (row["round"], row["pod"], row["interface"]) == (cell["round"], cell["source"], interface):
                for way, factor in times.items():
                    row[way] = int(cell["sent_bytes"] * factor)

    return edit


def of_the_receiver(times: float) -> Edit:
    def edit(run: Run) -> None:
        cell = cells(run)[0]
        for row in counters(run):
            if (row["round"], row["pod"], row["interface"]) == (cell["round"], cell["target"], "eth0"):
                row["rx_bytes"] = int(cell["received_bytes"] * times)

    return edit


def fails(why: str, state: str = "failed") -> Edit:
    def edit(run: Run) -> None:
        fail(cells(run)[0], why, state)
        recount(run)

    return edit


def one_address_for_two(run: Run) -> None:
    """mesh-1 got the address of mesh-0, as from a network that gives out one static address."""
    stolen, own = address(SHAPE, "mesh-0", "eth0"), address(SHAPE, "mesh-1", "eth0")
    for cell in cells(run):
        for name in ("local_address", "remote_address", "expected_local", "expected_remote"):
            cell[name] = stolen if cell[name] == own else cell[name]


def over_loopback(run: Run) -> None:
    """What the kernel does when both ends have one address: all over lo, and very quickly."""
    cell = cells(run)[0]
    cell |= {"remote_is_local": True, "loopback_bytes": cell["sent_bytes"] + 5000}
    count(tx_bytes=0.0003)(run)
    of_the_receiver(0.0003)(run)


def by_the_other_interface(run: Run) -> None:
    """The connection is made over net2, which has no cells; its addresses are still those of eth0."""
    count(tx_bytes=0.001)(run)
    count(interface="net2", tx_bytes=1.04)(run)


def addresses_of_the_other_interface(run: Run) -> None:
    cell = cells(run)[0]
    for end, pod in (("local_address", cell["source"]), ("remote_address", cell["target"])):
        cell[end] = address(SHAPE, pod, "net1")


def drop(index: int) -> Edit:
    def edit(run: Run) -> None:
        cells(run).pop(index)

    return edit


def twice(run: Run) -> None:
    rows = cells(run)
    rows[1] = dict(rows[0])
    recount(run)


def counter_rows(change: Callable[[list[dict[str, Any]]], Any]) -> Edit:
    return lambda run: change(counters(run)) and None


def without_counters(run: Run) -> None:
    run.observations.remove(mesh(run, kind="mesh_counters"))


def many_streams_of_an_old_one(run: Run) -> None:
    for cell in cells(run):
        cell["streams"] = 16


SOURCE = "mesh-0 → mesh-1 in round 0"
FAULTS: list[tuple[str, Edit, str, str]] = [
    (
        "one address for two pods",
        one_address_for_two,
        "addresses_unique",
        "198.18.0.10 is the address of eth0 of mesh-0",
    ),
    (
        "over loopback",
        over_loopback,
        "nothing_over_loopback",
        f"1 of 30 not, e.g. {SOURCE}: 1.194 MiB over lo of mesh-0",
    ),
    ("over loopback, local", over_loopback, "remote_not_local", "198.18.0.11 is one of the source's own"),
    ("over loopback, counters", over_loopback, "interface_counters_agree", "tx of eth0 of mesh-0 moved by 37"),
    (
        "counters too low",
        count(tx_bytes=0.93),
        "interface_counters_agree",
        "tx of eth0 of mesh-0 moved by 1.106 MiB, its cells say 1.19 MiB",
    ),
    (
        "counters too high",
        count(tx_bytes=1.2),
        "interface_counters_agree",
        "tx of eth0 of mesh-0 moved by 1.427 MiB, its cells say 1.19 MiB",
    ),
    ("receiver's too low", of_the_receiver(0.9), "interface_counters_agree", "rx of eth0 of mesh-1 moved by"),
    ("receiver's too high", of_the_receiver(1.3), "interface_counters_agree", "rx of eth0 of mesh-1 moved by"),
    ("by an idle interface", by_the_other_interface, "idle_interfaces_idle", "net2 of mesh-0 has no cells, and its tx"),
    ("idle and counted", by_the_other_interface, "interface_counters_agree", "tx of eth0 of mesh-0 moved by"),
    (
        "on the wrong interface",
        addresses_of_the_other_interface,
        "addresses_as_wanted",
        "local address 198.18.1.10, which is net1 of mesh-0, not 198.18.0.10 (eth0 of mesh-0)",
    ),
    (
        "to a stranger",
        first(remote_address="10.9.9.9"),
        "addresses_as_wanted",
        "remote address 10.9.9.9, not 198.18.0.11",
    ),
    ("address not seen", first(local_address=None), "addresses_as_wanted", "local address unknown, not 198.18.0.10"),
    ("address not known", first(expected_local=None), "addresses_as_wanted", "nobody knows the address of mesh-0"),
    (
        "several addresses",
        first(local_address="198.18.0.10,198.18.1.10"),
        "addresses_as_wanted",
        "198.18.0.10,198.18.1.10",
    ),
    ("remote not looked at", first(remote_is_local=None), "remote_not_local", "nobody saw whether"),
    ("loopback not looked at", first(loopback_bytes=None), "nothing_over_loopback", "the counter of lo was not seen"),
    ("done with an error", first(error="unable to send"), "cells_tell_no_error", "done, but says: unable to send"),
    ("sockets moved less", first(socket_bytes=1000), "cell_figures_agree", "1,000 B on its sockets"),
    ("sockets not seen", first(socket_bytes=None), "cell_figures_agree", "the bytes of its sockets were not seen"),
    ("more arrived than sent", first(received_bytes=2_000_000), "cell_figures_agree", "arrived of 1.19 MiB sent"),
    ("nothing arrived", first(received_bytes=0), "cell_figures_agree", "nothing arrived"),
    ("another goodput", first(goodput_bytes_per_second=9e9), "cell_figures_agree", "are not 72 Gb/s"),
    ("no goodput", first(goodput_bytes_per_second=None), "cell_figures_agree", "goodput are not told"),
    ("cut short", first(seconds=0.4), "cells_ran_their_time", "ran 400 ms of 1 s"),
    ("no version", first(iperf3_version=None), "iperf3_new_enough", "iperf3 of an unknown version, 3.10 is needed"),
    ("too old a version", first(iperf3_version="3.9"), "iperf3_new_enough", "iperf3 3.9, 3.10 is needed"),
    ("streams without threads", many_streams_of_an_old_one, "iperf3_new_enough", "30 of 30 not, e.g. mesh-0 → mesh-1"),
    ("a cell is missing", fails("stopped", "missing"), "no_cell_missing", "1 missing, e.g. 1 × stopped"),
    ("a server was busy", fails(f"{proof.BUSY} running a test"), "no_server_busy", "1 of 30 by the samples, 1 by"),
    ("busy is claimed", say(busy=3), "no_server_busy", "0 of 30 by the samples, 3 by the observation"),
    ("a row is gone", drop(4), "cells_accounted_for", "asked is 30, the samples give 29; done is 30"),
    ("a row is there twice", twice, "cells_accounted_for", "1 cells are there twice, e.g. mesh-0 → mesh-1"),
    (
        "fewer than planned",
        say(plan__cells=90),
        "cells_accounted_for",
        "90 are planned on all interfaces, 60 are there",
    ),
    ("of another interface", first(interface="net7"), "cells_accounted_for", "1 cells are no cells of eth0"),
    ("to itself", first(target="mesh-0"), "cells_accounted_for", "1 cells are no cells of eth0"),
    ("of an unknown state", first(state="maybe"), "cells_accounted_for", "1 cells are maybe"),
    ("failed without a reason", fails(""), "cells_accounted_for", "1 cells do not say why they are not done"),
    ("more done than there are", say(done=31), "cells_accounted_for", "done is 31, the samples give 30"),
    ("nothing asked", say(asked=0), "cells_accounted_for", "asked is 0"),
    ("no counters", without_counters, "samples_intact", "there is no observation mesh_counters beside it"),
    (
        "no counter of a pod",
        counter_rows(lambda rows: rows.pop(0)),
        "interface_counters_agree",
        "no tx counter of eth0",
    ),
    (
        "a counter came or went",
        counter_rows(lambda rows: rows[0].update(tx_bytes=None)),
        "interface_counters_agree",
        "no tx counter of eth0 of mesh-0",
    ),
    (
        "an idle one came or went",
        counter_rows(lambda rows: rows[2].update(tx_bytes=None)),
        "idle_interfaces_idle",
        "net2 of mesh-0 came or went",
    ),
    (
        "counters of other cells",
        counter_rows(lambda rows: rows[0].update(cells_tx_bytes=7)),
        "counters_match_cells",
        "1 not, e.g. eth0 of mesh-0 in round 0: 7 and",
    ),
    ("a counter twice", counter_rows(lambda rows: rows.append(dict(rows[0]))), "counters_match_cells", "1 twice"),
    ("not looked at before", say(preflight=[]), "preflight_held", "not observed"),
    (
        "refused and done",
        say(preflight=[{"name": "MTUs", "observed": "1500, 9000", "holds": False}]),
        "preflight_held",
        "MTUs: 1500, 9000",
    ),
    ("clocks not known", say(clocks={}), "clocks_known", "not observed"),
    ("clocks far off", say(clocks__worst_uncertainty_seconds=2.0), "clocks_known", "2 s"),
    ("stolen processors", say(machine__steal_ratio=0.3), "cpu_not_stolen", "30 %"),
]


@pytest.mark.parametrize(("edit", "name", "observed"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_a_planted_fault_is_named(tmp_path: Path, edit: Edit, name: str, observed: str) -> None:
    found = judged(build(tmp_path, SHAPE, edits=[edit]))[GOODPUT]
    assert observed in broken(found)[name]
    assert (found.verdict, found.value) == ("invalid", None)
    assert name in found.reason


def test_every_piece_of_evidence_can_fail() -> None:
    general = {"all_repeats_present", "same_parameters_in_every_repeat", "no_cell_failed"}
    assert {row.name for row in evidence.TABLE} - {row[2] for row in FAULTS} == general


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    "shape",
    [
        SHAPE,
        MeshShape(groups=SHAPE.groups, direction="both"),
        MeshShape(groups=SHAPE.groups, direction="reverse"),
        MeshShape(groups=SHAPE.groups, streams=16, version="3.16"),
        MeshShape(groups=SHAPE.groups, headers=1.0),
        MeshShape(groups=SHAPE.groups, repeats=3),
    ],
)
def test_a_clean_mesh_is_clean(tmp_path: Path, shape: MeshShape, metric: str) -> None:
    found = judged(build(tmp_path, shape))[metric]
    assert (broken(found), found.verdict) == ({}, "measured")


def test_what_is_counted_needs_no_proof_but_all_cells(tmp_path: Path) -> None:
    found = judged(build(tmp_path, SHAPE, edits=[first(remote_is_local=True)]))
    counted = {"mesh_cells_proven", "mesh_wall_seconds", "mesh_control_cpu_seconds", "mesh_control_max_rss_bytes"}
    assert {name for name, record in found.items() if record.verdict == "measured"} == counted
    assert (found["mesh_cells_proven"].value, found["mesh_cells_proven"].reason) == (
        29.0,
        "29 of 30 cells are proven.",
    )
    assert {
        name for name, record in judged(build(tmp_path / "b", SHAPE, edits=[drop(0)])).items() if record.value
    } == set()


def test_a_cell_that_failed_is_told_and_the_others_stand(tmp_path: Path) -> None:
    found = judged(build(tmp_path, SHAPE, edits=[fails("no result of mesh-0: its pod is gone")]))[GOODPUT]
    assert (found.verdict, found.n) == ("measured", 29)
    assert broken(found) == {"no_cell_failed": "1 of 30 failed, e.g. 1 × no result of mesh-0: its pod is gone"}
    assert "29 of 30 cells are proven, 1 failed." in found.reason


def test_what_a_failed_cell_moved_is_not_held_against_others_of_its_interface(tmp_path: Path) -> None:
    """Its bytes are in the counters, and nobody says how many they were; too few are too few all the same."""

    def beside(run: Run) -> None:
        # A second cell of the same pod in the same round, which dies half way.
        rows = cells(run)
        other = next(row for row in rows if row["source"] == "mesh-0" and row["round"] == 1)
        other["round"] = 0
        fail(other, "control socket has closed unexpectedly")
        recount(run)

    high, low = count(tx_bytes=1.6), count(tx_bytes=0.5)
    assert judged(build(tmp_path / "a", SHAPE, edits=[beside, high]))[GOODPUT].verdict == "measured"
    assert "interface_counters_agree" in broken(judged(build(tmp_path / "b", SHAPE, edits=[beside, low]))[GOODPUT])


@pytest.mark.parametrize(("times", "holds"), [(0.949, False), (0.951, True), (1.149, True), (1.19, False)])
def test_the_bounds_of_the_counters(tmp_path: Path, times: float, holds: bool) -> None:
    """Below: what arrived; above: what was sent, and a little talk that is no cell's."""
    found = judged(build(tmp_path, MeshShape(groups=SHAPE.groups), edits=[count(tx_bytes=times * 0.9968)]))[GOODPUT]
    assert ("interface_counters_agree" not in broken(found)) is holds


@pytest.mark.parametrize(("moved", "holds"), [(0, True), (16_000, True), (28_000, True), (30_000, False)])
def test_how_much_an_interface_without_cells_may_move(tmp_path: Path, moved: int, holds: bool) -> None:
    def edit(run: Run) -> None:
        row = next(row for row in counters(run) if (row["pod"], row["interface"]) == ("mesh-0", "net2"))
        row["rx_bytes"] = moved

    shape = MeshShape(groups=SHAPE.groups, interfaces=("eth0",))
    found = judged(build(tmp_path, shape, edits=[edit]))[GOODPUT]
    assert ("idle_interfaces_idle" not in broken(found)) is holds


def alter(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def tamper(folder: Path) -> None:
        path = next(folder.glob(f"samples/*/{RINGS}.1.eth0.{name}.jsonl"))
        path.write_bytes(change(path.read_bytes()))

    return tamper


TAMPERED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "a state": ("cells", lambda data: data.replace(b'"state": "done"', b'"state": "DONE"', 1)),
    "a counter": ("counters", lambda data: data.replace(b'"tx_bytes": 1', b'"tx_bytes": 2', 1)),
    "half a row": ("cells", lambda data: data[:-30]),
    "a row less": ("cells", lambda data: b"".join(data.splitlines(keepends=True)[:-1])),
    "no row left": ("counters", lambda data: b""),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_samples_that_were_changed_prove_nothing(tmp_path: Path, what: str) -> None:
    name, change = TAMPERED[what]
    run = build(tmp_path, SHAPE, tampering=[alter(name, change)])
    found = judged(run)
    assert {record.verdict for record in found.values()} == {"invalid"}
    assert f".eth0.{name}.jsonl has sha256" in broken(found[GOODPUT])["samples_intact"]
    # Each interface has samples of its own.
    others = judged(run, "net1")
    assert {record.verdict for record in others.values()} <= {"measured", "invalid"}
    assert broken(others[GOODPUT]).get("samples_intact") is None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"sent_bytes": "many"}, "sent_bytes is 'many'"),
        ({"remote_is_local": 0}, "remote_is_local is 0"),
        ({"round": None}, "round is None"),
    ],
)
def test_a_row_of_the_wrong_kind_is_named(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    found = judged(build(tmp_path, SHAPE, edits=[lambda run: cells(run)[3].update(change)]))[GOODPUT]
    assert f"eth0.cells.jsonl:4: {problem}" in broken(found)["samples_intact"]
