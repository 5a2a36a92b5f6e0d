# SPDX-License-Identifier: GPL-3.0-or-later
"""gpu_hosts.yml from nothing to results to no host left; the hosts of the stand-in are a real sshd on loopback.

The stand-in plays the guest agent: it lets in the key that stands in the metadata of a host that runs.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import eventually
from tests.fakes.bucket import NAME, Stored, fake_bucket
from tests.fakes.ssh_hosts import on_loopback
from tests.gpu_hosts import HOST, NOTHING, RUN, WRITE, Night

if TYPE_CHECKING:
    from tests.compute_api import ComputeApi

pytestmark = pytest.mark.integration

INSERT, DELETE, GET, LIST = (f"compute.instances.{name}" for name in ("insert", "delete", "get", "aggregatedList"))
FAIL = {"name": "Break", "ansible.builtin.fail": {"msg": "the probe broke"}}


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[int]:
    with on_loopback(tmp_path) as port:
        yield port


@pytest.fixture
def night(cloud: ComputeApi, tmp_path: Path, sshd: int) -> Night:
    (tmp_path / "on_host").mkdir()
    cloud.reset(outside_address="127.0.0.1", authorized_keys=str(tmp_path / "keys"))
    on_host = str(tmp_path / "on_host")
    return Night(cloud, tmp_path, gpu_host_access="direct", gpu_host_ssh_port=sshd, gpu_host_results=on_host)


def test_from_nothing_to_results_through_a_bucket_to_no_host_left(night: Night) -> None:
    """A role that is no suite leaves what it likes, and nothing is judged."""
    theirs = {"nightbench/theirs": Stored(b"")}
    left = {f"nightbench/{RUN.lower()}/another/x": Stored(b"", {"managed-by": "nightbench", "run-id": RUN.lower()})}
    with fake_bucket() as bucket:
        bucket.objects = {**theirs, **left}
        rc, output = night.play(gpu_host_bucket=NAME, gpu_host_storage_endpoint=bucket.url)
    assert (rc, bucket.objects, len(bucket.uploads)) == (0, theirs, 1), output
    assert (night.manifest["complete"], [one["path"] for one in night.manifest["files"]]) == (True, ["measured.txt"])
    assert (night.results / HOST / "measured.txt").read_text(encoding="utf-8") == "0.8 %\n"
    assert night.cloud.settled() == NOTHING
    assert not (night.folder / "key").exists()
    assert not (night.results / HOST / RUN).exists()


TUNNEL = """#!{python}
import os, selectors, socket, sys
words = sys.argv[1:]
wanted = ["compute", "start-iap-tunnel", "{name}", "22", "--listen-on-stdin", "--project=nightbench-test",
          "--zone=us-central1-a", "--verbosity=warning"]
if words != wanted:
    sys.exit("asked for " + " ".join(words))
there = socket.create_connection(("127.0.0.1", {port}))
ways = {{0: there.fileno(), there.fileno(): 1}}
look = selectors.DefaultSelector()
for way in ways:
    look.register(way, selectors.EVENT_READ)
while True:
    for key, _ in look.select():
        piece = os.read(key.fd, 65536)
        if not piece:
            sys.exit(0)
        while piece:
            piece = piece[os.write(ways[key.fd], piece):]
"""


def test_hosts_without_an_address_are_reached_through_the_tunnel(night: Night) -> None:
    """A stand-in of gcloud that takes the words of the real one and leads to the host."""
    program = night.folder / "bin" / "gcloud"
    program.parent.mkdir()
    name, port = HOST, night.variables["gpu_host_ssh_port"]
    program.write_text(TUNNEL.format(python=sys.executable, name=name, port=port), encoding="utf-8")
    program.chmod(0o755)
    rc, output = night.play(gpu_host_access="iap", gpu_host_ssh_port=22)
    assert (rc, night.manifest["complete"], night.cloud.settled()) == (0, True, NOTHING), output
    (asked,) = night.cloud.asked(INSERT)
    assert "accessConfigs" not in asked["body"]["networkInterfaces"][0]


OS_LOGIN = """#!{python}
import pathlib, sys
words, keys = sys.argv[1:], pathlib.Path("{keys}")
with open("{log}", "a") as log:
    log.write(" ".join(words[2:4] + [word for word in words if word.startswith("--ttl")]) + chr(10))
path = [word.partition("=")[2] for word in words if word.startswith("--key-file=")]
if words[2:4] == ["ssh-keys", "add"]:
    keys.write_text(pathlib.Path(path[0]).read_text())
elif words[2:4] == ["ssh-keys", "remove"]:
    keys.write_text("")
elif words[2] == "describe-profile":
    print("{user}")
else:
    sys.exit("no such words: " + " ".join(words))
"""


def test_with_os_login_the_key_of_the_run_is_let_in_for_a_time_and_taken_out_again(night: Night) -> None:
    program, log, keys = (night.folder / name for name in ("bin/gcloud", "gcloud.log", "keys"))
    program.parent.mkdir()
    text = OS_LOGIN.format(python=sys.executable, keys=keys, log=log, user=getpass.getuser())
    program.write_text(text, encoding="utf-8")
    program.chmod(0o755)
    rc, output = night.play(gpu_host_login="os_login", gpu_host_ssh_user="nobody-else")
    assert (rc, night.manifest["complete"], night.cloud.settled()) == (0, True, NOTHING), output
    (asked,) = night.cloud.asked(INSERT)
    assert asked["body"]["metadata"]["items"] == [{"key": "enable-oslogin", "value": "TRUE"}]
    said = log.read_text(encoding="utf-8").splitlines()
    assert (said[0], said[-1]) == ("ssh-keys add --ttl=7200s", "ssh-keys remove")
    assert keys.read_text(encoding="utf-8") == ""


def test_check_mode_rents_nothing(night: Night) -> None:
    rc, output = night.play("gpu_hosts", "--check", "--diff")
    assert rc == 0, output
    assert night.cloud.asked(INSERT, DELETE) == []


def test_what_fails_on_a_host_leaves_partial_results_and_no_host(night: Night) -> None:
    night.measure(WRITE, FAIL)
    rc, output = night.play()
    assert (rc, "the probe broke" in output, night.cloud.settled()) == (2, True, NOTHING), output
    assert (night.manifest["complete"], night.manifest["reason"]) == (False, "the probe broke")


def test_a_host_that_is_preempted_while_it_works_leaves_results_that_say_so(night: Night) -> None:
    preempt = {
        "name": "Take the host away",
        "ansible.builtin.uri": {
            "url": f"{night.cloud.url}/control/preempt",
            "method": "POST",
            "body_format": "json",
            "body": {"zone": "us-central1-a", "name": "{{ inventory_hostname }}"},
        },
    }
    night.measure(WRITE, preempt)
    rc, output = night.play()
    assert (night.manifest["complete"], night.manifest["reason"]) == (False, "the host was preempted or has ended")
    assert (rc, "partial results marked as such" in output, night.cloud.settled()) == (2, True, NOTHING), output


def test_a_host_that_is_preempted_before_it_answers_is_named_and_removed(night: Night) -> None:
    process = night.start("gpu_hosts", gpu_host_ssh_port=1, gpu_host_ssh_seconds=5)
    eventually(lambda: night.cloud.asked(GET), seconds=120)
    night.cloud.control("preempt", zone="us-central1-a", name=HOST)
    output, _ = process.communicate()
    named = f"Preempted or ended: {HOST}." in " ".join(output.split())
    assert (process.returncode, named, night.cloud.settled()) == (2, True, NOTHING), output


def test_a_host_that_is_preempted_while_its_results_are_brought_leaves_results_that_say_so(night: Night) -> None:
    night.measure(WRITE)
    with fake_bucket() as bucket:
        bucket.before = lambda: night.cloud.control("preempt", zone="us-central1-a", name=HOST)
        bucket.faults = [("POST", 403), ("POST", 403)]
        rc, output = night.play(gpu_host_bucket=NAME, gpu_host_storage_endpoint=bucket.url)
    assert (rc, night.cloud.settled(), night.manifest["complete"]) == (2, NOTHING, False), output
    assert night.manifest["reason"].startswith("the host was preempted or has ended; open an upload of nightbench/")


def test_a_host_that_ssh_does_not_reach_leaves_what_it_said_on_its_serial_port(night: Night) -> None:
    rc, output = night.play(gpu_host_ssh_port=1, gpu_host_ssh_seconds=1)
    assert (rc, "does not answer ssh within 1 s" in output, night.cloud.settled()) == (2, True, NOTHING), output
    assert "login:" in (night.results / f"nightbench-{RUN.lower()}-0.serial.txt").read_text(encoding="utf-8")


KILLS: dict[str, dict[str, Any]] = {
    "before a host is asked for": {"at": INSERT, "moment": "before"},
    "while a host is created": {"at": INSERT, "moment": "after"},
    "after the creation, before the host works": {"at": GET, "moment": "after"},
    "while the host works": {},
    "before results are fetched": {"at": LIST, "skip": 2},
    "before the hosts are removed": {"at": DELETE, "moment": "before"},
    "while the hosts are removed": {"at": DELETE, "moment": "after"},
    "after the removal, before anything is judged": {"at": "compute.addresses.aggregatedList"},
}


def kill_by(path: Path) -> list[dict[str, Any]]:
    """What a role does that ends the playbook whose number is in the file."""
    number = f"{{{{ lookup('ansible.builtin.file', '{path}') }}}}"
    return [
        {"name": "Wait for its number", "ansible.builtin.wait_for": {"path": str(path)}},
        {"name": "End it", "ansible.builtin.command": {"argv": ["kill", "-9", number]}, "changed_when": True},
    ]


@pytest.mark.parametrize("stage", KILLS)
def test_a_playbook_that_is_killed_leaves_what_the_reaper_removes(night: Night, stage: str) -> None:
    number = night.folder / "number"
    if not KILLS[stage]:
        night.measure(*kill_by(number))
    process = night.start("gpu_hosts")
    if KILLS[stage]:
        night.cloud.faults({"do": "kill", "pid": process.pid, **KILLS[stage]})
    (night.folder / "written").write_text(str(process.pid), encoding="utf-8")
    (night.folder / "written").rename(number)
    process.communicate()
    assert process.returncode == -9, "it was through before"
    night.cloud.faults()
    rc, output = night.play("reap", gpu_host_reap_dry_run=False)
    assert (rc, night.cloud.settled()) == (0, NOTHING), output


def test_reap_only_shows_what_is_left_unless_it_is_told_to_remove_it(night: Night) -> None:
    night.cloud.put("disk", "us-central1-a", "extra", managed_by="nightbench", run_id=RUN.lower(), expires="9999999999")
    rc, output = night.play("reap")
    assert (rc, "would remove extra" in output, night.cloud.settled()["disks"]) == (0, True, ["us-central1-a/extra"])
