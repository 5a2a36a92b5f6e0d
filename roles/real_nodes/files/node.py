#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""One real node, or the network between the nodes, as one process tree: node.py network|node CONFIGURATION.

The process stays in the machine's namespaces; its only child lives in namespaces of its own and dies with it. All that
either makes is inside those namespaces, so the kernel removes it with them, whatever was killed: processes, mounts,
files (tmpfs), network interfaces and their routes.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

# linux/sched.h, sys/mount.h and linux/prctl.h
CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET = 0x00020000, 0x20000000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE, MS_SHARED = 4096, 16384, 1 << 18, 1 << 20
PR_SET_PDEATHSIG = 1

PRIVATE = ("/run", "/var/lib", "/var/log")  # folders that a node has for itself, in memory
# What a kubelet sets for the whole machine (kubernetes pkg/kubelet/cm, setupKernelTunables): a node has copies of it.
SETTINGS = (
    "vm/overcommit_memory",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
RESTART_SECONDS = 1.0
GONE_SECONDS = 5.0
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

libc = ctypes.CDLL(None, use_errno=True)


def main(arguments: Sequence[str]) -> int:
    kind, path = arguments[0], arguments[1]
    configuration = json.loads(Path(path).read_text(encoding="utf-8"))
    if kind == "network":
        run_network(configuration)
    else:
        run_node(configuration)
    return 1


# --- the network: a bridge between the nodes, and one interface of the machine


def run_network(configuration: dict[str, Any]) -> None:
    child = Child(CLONE_NEWNET, lambda: wait_for_parent)
    interface, mtu = configuration["host_interface"], configuration["mtu"]
    in_network(
        child.pid,
        f"link set lo up\n"
        f"link add switch mtu {mtu} type bridge\n"
        f"addr add {configuration['router_address']} dev switch\n"
        f"link set switch up\n"
        f"link add machine mtu {mtu} type veth peer name {interface} mtu {mtu} netns {os.getpid()}\n"
        f"link set machine master switch up\n"
        + "".join(f"route add {target} via {gateway}\n" for target, gateway in configuration["routes"]),
    )
    with inside_network(child.pid):
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        Path("/proc/sys/net/ipv4/conf/all/send_redirects").write_text("0")
        Path("/proc/sys/net/ipv4/conf/switch/send_redirects").write_text("0")
    # Not "replace": a range that another run has taken meanwhile is refused by the kernel.
    ip(
        f"addr add {configuration['host_address']} dev {interface}\n"
        f"link set {interface} up\n"
        f"route add {configuration['range']} via {configuration['router_address'].split('/')[0]}\n"
    )
    say_ready(configuration, child)
    child.wait()


# --- a node


def run_node(configuration: dict[str, Any]) -> None:
    make_cgroups(configuration["cgroup"])
    child = Child(CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID, lambda: lambda gone: be_init(configuration, gone))
    network, mtu = configuration["network_pid"], configuration["mtu"]
    add_port(
        network, f"link add {configuration['port']} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {child.pid}\n"
    )
    in_network(network, f"link set {configuration['port']} master switch up\n")
    in_network(
        child.pid,
        f"link set lo up\naddr add {configuration['address']} dev eth0\nlink set eth0 up\n"
        f"route add {configuration['range']} via {configuration['router']}\n"
        + "".join(f"route add {target} via {gateway}\n" for target, gateway in configuration["routes"]),
    )
    with inside_network(child.pid):
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        listener = socket.create_server(("127.0.0.1", configuration["api_port"]), backlog=64)
    child.go()
    say_ready(configuration, child)
    asyncio.run(relay(listener, configuration["api_port"], child))


def add_port(network: int, command: str) -> None:
    """The port of a node that has just been killed goes a moment after it."""
    deadline = time.monotonic() + GONE_SECONDS
    while True:
        try:
            return in_network(network, command)
        except SystemExit:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


async def relay(listener: socket.socket, port: int, child: Child) -> None:
    """Carry what the node's processes say to 127.0.0.1:port over to the same address of the machine."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            to_server, from_server = await asyncio.open_connection("127.0.0.1", port)
        except OSError as error:
            print(f"relay: the API server at 127.0.0.1:{port}: {error}", flush=True)
            writer.close()
            return
        await asyncio.gather(carry(reader, from_server), carry(to_server, writer))

    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(child.handle, ended.set)
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    server = await asyncio.start_server(connected, sock=listener)
    await ended.wait()
    server.close()
    child.kill()


def be_init(configuration: dict[str, Any], parent_gone: Callable[[], bool]) -> None:
    """Pid 1 of the node: its file systems, then its processes, started again when they end."""
    mount_private(configuration["keep"])
    environment = {
        "PATH": f"{configuration['bin_dir']}:{PATH}",
        "HOME": "/root",
        "TMPDIR": "/run/tmp",
        **{name: os.environ[name] for name in ("NIGHTBENCH_RUN_ID", "NIGHTBENCH_PROCESS") if name in os.environ},
    }
    running: dict[int, str] = {}
    due = {item["name"]: 0.0 for item in configuration["processes"]}
    while not parent_gone():
        for item in configuration["processes"]:
            ready = not item["after"] or os.path.exists(item["after"])
            if item["name"] in due and due[item["name"]] <= time.monotonic() and ready:
                running[start(item, environment)] = item["name"]
                del due[item["name"]]
        while (ended := reap()) is not None:
            if ended[0] in running:
                name = running.pop(ended[0])
                print(f"{name} has ended ({ended[1]}) and is started again", flush=True)
                due[name] = time.monotonic() + RESTART_SECONDS
        time.sleep(0.05)


def start(item: dict[str, Any], environment: dict[str, str]) -> int:
    with open(item["log"], "ab") as log:
        return subprocess.Popen(
            item["argv"], env=environment, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log
        ).pid


def reap() -> tuple[int, int] | None:
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, os.waitstatus_to_exitcode(status)) if pid else None


def mount_private(keep: Sequence[str]) -> None:
    """Folders of the node's own over those of the machine; what the node needs out of these stays in view."""
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    held = [(path, os.open(path, os.O_PATH)) for path in keep if path.startswith(tuple(f"{top}/" for top in PRIVATE))]
    for folder in PRIVATE:
        mount("tmpfs", folder, "tmpfs", 0, "mode=755")
    for path, descriptor in held:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            os.makedirs(path, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            Path(path).touch()
        mount(f"/proc/self/fd/{descriptor}", path, None, MS_BIND | MS_REC)
        os.close(descriptor)
    mount("proc", "/proc", "proc", 0)
    for name in SETTINGS:
        real, copy = Path("/proc/sys", name), Path("/run/settings", name)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(real.read_text())
        mount(str(copy), str(real), None, MS_BIND)
    for folder in ("/run/tmp", "/var/lib/kubelet", "/var/log/pods"):
        os.makedirs(folder, exist_ok=True)
    mount("/var/lib/kubelet", "/var/lib/kubelet", None, MS_BIND)
    mount("none", "/var/lib/kubelet", None, MS_SHARED)


def make_cgroups(name: str) -> None:
    """The folder of the node below every hierarchy; the kubelet puts the pods there."""
    for hierarchy, unified in cgroup_hierarchies():
        folder = hierarchy
        for part in name.split("/"):
            if unified and (folder / "cgroup.controllers").exists():
                for controller in (folder / "cgroup.controllers").read_text().split():
                    with contextlib.suppress(OSError):
                        (folder / "cgroup.subtree_control").write_text(f"+{controller}")
            folder = folder / part
            folder.mkdir(exist_ok=True)


def cgroup_hierarchies() -> list[tuple[Path, bool]]:
    found = []
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        before, _, after = line.partition(" - ")
        kind = after.split()[0]
        if kind in ("cgroup", "cgroup2"):
            found.append((Path(before.split()[4]), kind == "cgroup2"))
    return found


# --- namespaces


class Child:
    """The process in namespaces of its own. It runs once go() has been called and is killed with this process."""

    def __init__(self, namespaces: int, work: Callable[[], Callable[[Callable[[], bool]], None]]) -> None:
        ready_read, ready_write = os.pipe()
        go_read, self._go = os.pipe()
        own = os.open("/proc/self/ns/pid", os.O_RDONLY)
        if namespaces & CLONE_NEWPID:
            check(libc.unshare(CLONE_NEWPID), "unshare the pid namespace")
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._go)
            self._live(namespaces & ~CLONE_NEWPID, work(), ready_write, go_read)
        check(libc.setns(own, CLONE_NEWPID), "return to the pid namespace")
        for descriptor in (ready_write, go_read, own):
            os.close(descriptor)
        if not os.read(ready_read, 1):
            raise SystemExit("node.py: the process in namespaces of its own did not start")
        os.close(ready_read)
        self.handle = os.pidfd_open(self.pid)

    @staticmethod
    def _live(namespaces: int, work: Callable[[Callable[[], bool]], None], ready: int, go: int) -> NoReturn:
        code = 1
        try:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            check(libc.unshare(namespaces), "unshare")
            os.write(ready, b"+")
            os.close(ready)
            # The pipe's end tells it too: the signal would be missed by a child that came a moment too late.
            if os.read(go, 1):
                os.set_blocking(go, False)
                work(lambda: pipe_ended(go))
            code = 0
        except BaseException as error:  # noqa: BLE001 - it must not return into its parent's code
            print(f"node.py: {error!r}", file=sys.stderr, flush=True)
        finally:
            os._exit(code)

    def go(self) -> None:
        os.write(self._go, b"+")

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def wait(self) -> None:
        signal.signal(signal.SIGTERM, lambda *_: self.kill() or sys.exit(0))
        os.waitpid(self.pid, 0)


def pipe_ended(descriptor: int) -> bool:
    try:
        return not os.read(descriptor, 1)
    except BlockingIOError:
        return False


def wait_for_parent(gone: Callable[[], bool]) -> None:
    while not gone():
        time.sleep(1)


@contextlib.contextmanager
def inside_network(pid: int) -> Any:
    own, other = (os.open(path, os.O_RDONLY) for path in ("/proc/self/ns/net", f"/proc/{pid}/ns/net"))
    try:
        check(libc.setns(other, CLONE_NEWNET), "enter the network namespace")
        yield
    finally:
        check(libc.setns(own, CLONE_NEWNET), "leave the network namespace")
        os.close(own)
        os.close(other)


def in_network(pid: int, commands: str) -> None:
    ip(commands, prefix=["nsenter", f"--net=/proc/{pid}/ns/net"])


def ip(commands: str, prefix: Sequence[str] = ()) -> None:
    done = subprocess.run(
        [*prefix, shutil.which("ip", path=PATH) or "ip", "-batch", "-"],
        input=commands,
        text=True,
        check=False,
        capture_output=True,
    )
    if done.returncode:
        raise SystemExit(f"node.py: ip -batch: {done.stderr.strip()} in:\n{commands}")


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    words = [word.encode() if word is not None else None for word in (source, target, kind)]
    check(libc.mount(*words, ctypes.c_ulong(flags), data.encode() if data else None), f"mount {source} at {target}")


def check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def say_ready(configuration: dict[str, Any], child: Child) -> None:
    """Whole or not at all: who waits for the file reads it at once."""
    path = Path(configuration["ready"])
    new = path.with_name(f".{path.name}.new")
    new.write_text(json.dumps({"pid": child.pid}))
    new.replace(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
