# SPDX-License-Identifier: GPL-3.0-or-later
"""A repository of packages that hold one file each, for apt to read from a folder."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

CONTROL = (
    "Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: stands in\n"
)


def make(folder: Path, *names: str) -> Path:
    """The folder of the repository."""
    repository = folder / "repository"
    repository.mkdir()
    listed = []
    for name in names:
        tree = folder / name
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "usr" / "share" / name).mkdir(parents=True)
        (tree / "usr" / "share" / name / "there").write_text("there\n", encoding="utf-8")
        control = CONTROL.format(name=name)
        (tree / "DEBIAN" / "control").write_text(control, encoding="utf-8")
        package = repository / f"{name}.deb"
        subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, package], check=True, capture_output=True)
        data = package.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        listed.append(f"{control}Filename: ./{name}.deb\nSize: {len(data)}\nSHA256: {digest}\n")
    (repository / "Packages").write_text("\n".join(listed), encoding="utf-8")
    return repository
