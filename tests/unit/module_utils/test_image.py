# SPDX-License-Identifier: GPL-3.0-or-later
"""Images from files of this machine: the same content makes the same bytes, and what is inside runs."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench import image_content, image_elf, image_python
from ansible.module_utils.nightbench.errors import ConfigurationError
from ansible.module_utils.nightbench.image import Entry, Image, build, name_in
from ansible.module_utils.nightbench.tool_table import machine_architecture

ENTRIES = {"/etc/word": Entry(b"hello"), "/tmp": Entry(mode=0o1777), "/bin/word": Entry(mode=0o777, target="/etc/word")}
ITEM = {
    "name": "nightbench.local/tools",
    "programs": [],
    "python": None,
    "files": [],
    "directories": ["/tmp"],
    "waiting_program": False,
    "command": [],
    "environment": {},
}


def unpacked(data: bytes, folder: Path) -> dict[str, Any]:
    """The archive's documents by what they are, and the layer's tree below `folder`."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}  # type: ignore[union-attr]

    def blob(descriptor: dict[str, Any]) -> bytes:
        found = files[f"blobs/{descriptor['digest'].replace(':', '/')}"]
        assert len(found) == descriptor["size"]
        return found

    index = json.loads(files["index.json"])
    manifest = json.loads(blob(index["manifests"][0]))
    with tarfile.open(fileobj=io.BytesIO(blob(manifest["layers"][0]))) as layer:
        # Debian 12's Python 3.11.2 knows no filters yet.
        layer.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)
        layer.extractall(folder)
        members = {f"/{member.name}": (member.mode, member.uid, member.mtime) for member in layer}
    return {"index": index, "config": json.loads(blob(manifest["config"])), "members": members}


def test_the_same_content_makes_the_same_bytes_and_the_name(tmp_path: Path) -> None:
    image = Image("nightbench.local/tools", ENTRIES, ["/bin/word"], {"B": "2", "A": "1"})
    turned = Image("nightbench.local/tools", dict(reversed(ENTRIES.items())), ["/bin/word"], {"A": "1", "B": "2"})
    written, again = build(image), build(turned)
    assert written == again
    assert written.name == f"nightbench.local/tools:{written.digest.partition(':')[2][:12]}"
    other = build(Image("nightbench.local/tools", {**ENTRIES, "/etc/word": Entry(b"bye")}))
    assert other.name != written.name
    path = tmp_path / "image.tar"
    path.write_bytes(written.data)
    assert name_in(path) == written.name


def test_everything_stands_where_it_was_asked_for(tmp_path: Path) -> None:
    found = unpacked(build(Image("nightbench.local/tools", ENTRIES, ["/bin/word"], {"A": "1"})).data, tmp_path)
    assert found["members"] == {
        "/bin": (0o755, 0, 0),
        "/bin/word": (0o777, 0, 0),
        "/etc": (0o755, 0, 0),
        "/etc/word": (0o644, 0, 0),
        "/tmp": (0o1777, 0, 0),
    }
    assert (tmp_path / "etc" / "word").read_text() == "hello"
    assert os.readlink(tmp_path / "bin" / "word") == "/etc/word"
    assert found["config"]["config"] == {"Cmd": ["/bin/word"], "Env": ["A=1"]}


@pytest.mark.parametrize(
    "name", ["tools", "local/tools", "nightbench.local/tools:1", "Nightbench.local/tools", "a.b/c@d"]
)
def test_a_name_that_is_not_full_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="no full name"):
        build(Image(name, ENTRIES))


@pytest.mark.parametrize("path", ["etc/word", "/etc/../word"])
def test_a_path_that_leaves_the_image_is_refused(path: str) -> None:
    with pytest.raises(ConfigurationError, match="no absolute path"):
        build(Image("nightbench.local/tools", {path: Entry(b"")}))


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_what_is_no_archive_is_explained(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "image.tar"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=str(path)):
        name_in(path)


def test_an_archive_that_does_not_say_its_name_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "image.tar"
    with tarfile.open(path, "w") as archive:
        body = b'{"manifests": [{}]}'
        member = tarfile.TarInfo("index.json")
        member.size = len(body)
        archive.addfile(member, io.BytesIO(body))
    with pytest.raises(ConfigurationError, match="says its full name"):
        name_in(path)


def test_the_waiting_program_waits_until_it_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "pause"
    program.write_bytes(image_elf.waiting_program(machine_architecture()))
    program.chmod(0o755)
    assert image_elf.interpreter(program) is None
    running = subprocess.Popen([program])
    with pytest.raises(subprocess.TimeoutExpired):
        running.wait(0.2)
    running.kill()
    assert running.wait(5) == -signal.SIGKILL


@pytest.mark.parametrize(("architecture", "machine"), [("amd64", 62), ("arm64", 183)])
def test_there_is_a_waiting_program_for_each_machine(architecture: str, machine: int) -> None:
    data = image_elf.waiting_program(architecture)
    assert (data[:4], int.from_bytes(data[18:20], "little")) == (b"\x7fELF", machine)


def test_another_machine_is_named() -> None:
    with pytest.raises(ConfigurationError, match="no waiting program for riscv64"):
        image_elf.waiting_program("riscv64")


def test_a_program_brings_its_loader_and_its_libraries() -> None:
    program = Path(shutil.which("ls") or "")
    loader = image_elf.interpreter(program)
    found = image_elf.libraries(program, loader)
    assert loader in found
    assert any(Path(path).name.startswith("libc.so") for path in found)
    assert all(os.path.isabs(path) and os.path.exists(path) for path in found)


def test_what_is_no_program_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    with pytest.raises(ConfigurationError, match="no program of a 64-bit machine"):
        image_elf.interpreter(script)


def test_a_library_that_is_missing_is_named(tmp_path: Path) -> None:
    loader = tmp_path / "loader"
    loader.write_text("#!/bin/sh\necho ' libodd.so.1 => not found'\n")
    loader.chmod(0o755)
    with pytest.raises(ConfigurationError, match=r"libodd\.so\.1 is not there"):
        image_elf.libraries(Path("/bin/ls"), str(loader))


def test_imports_count_wherever_they_stand(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from __future__ import annotations\nimport json\ndef f():\n    from http import server\n    import os.path\n"
    )
    assert image_python.imported([script]) == {"__future__", "json", "http", "os.path"}
    script.write_text("def (")
    with pytest.raises(ConfigurationError, match="no Python program"):
        image_python.imported([script])


@pytest.mark.parametrize(
    ("modules", "said"), [(["no_such_module"], "No module named 'no_such_module'"), (["pytest"], "pytest")]
)
def test_what_is_not_in_the_standard_library_is_refused(modules: list[str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        image_python.gather(sys.executable, modules, [])


def test_an_interpreter_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"execute .*python: No such file"):
        image_python.gather(str(tmp_path / "python"), [], [])


@pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root")
def test_a_script_runs_with_nothing_but_the_image(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import json\ndef late():\n    import decimal\n    return str(decimal.Decimal(1))\nprint(json.dumps(late()))\n"
    )
    item = {
        **ITEM,
        "python": {"interpreter": None, "scripts": [str(script)], "modules": []},
        "files": [{"source": str(script), "path": "/script.py", "mode": "0644"}],
    }
    first, second = (build(image_content.image_of(item)) for _ in range(2))
    assert first.data == second.data
    root = tmp_path / "root"
    found = unpacked(first.data, root)
    run = subprocess.run(
        [shutil.which("chroot", path="/usr/sbin:/usr/bin") or "chroot", str(root), "/usr/bin/python3", "/script.py"],
        capture_output=True,
        text=True,
        check=True,
        env={},
    )
    assert run.stdout == '"1"\n'
    assert not [path for path in found["members"] if "/test/" in path or path.endswith("tkinter")]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"directories": []}, "it holds nothing"),
        ({"programs": ["/etc/passwd"]}, "no executable file"),
        ({"files": [{"source": "/no/such/file", "path": "/a", "mode": "0644"}]}, "No such file"),
    ],
)
def test_an_item_that_cannot_be_is_explained(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        build(image_content.image_of({**ITEM, **change}))
