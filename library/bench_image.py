#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_image
short_description: Write container images from files of this machine
version_added: 0.1.0
description:
  - Writes any number of OCI image archives without a container engine and without a registry. An image holds programs
    of this machine with their shared libraries, a Python interpreter with the part of its standard library that some
    scripts import, and single files.
  - The same content makes the same bytes. The tag of an image is the beginning of its manifest's digest, so a name
    always means one content.
author:
  - Nightbench authors (@nightbench)
options:
  state:
    description: V(present) writes the archives, V(absent) removes them.
    type: str
    choices: [present, absent]
    default: present
  images:
    description: The images.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Full name of the image with its host and without a tag, such as C(nightbench.local/tools).
        type: str
        required: true
      path:
        description: The archive.
        type: path
        required: true
      programs:
        description: Programs that are copied to C(/usr/bin) of the image, with their libraries.
        type: list
        elements: path
        default: []
      python:
        description: A Python interpreter, C(/usr/bin/python3) in the image.
        type: dict
        suboptions:
          interpreter:
            description: The interpreter that is copied. By default the one the module runs with.
            type: path
          scripts:
            description: Scripts whose imports go into the image. They are not copied themselves.
            type: list
            elements: path
            default: []
          modules:
            description: More modules of the standard library.
            type: list
            elements: str
            default: []
      files:
        description: Single files.
        type: list
        elements: dict
        default: []
        suboptions:
          source:
            description: The file on this machine.
            type: path
            required: true
          path:
            description: Where it is in the image.
            type: str
            required: true
          mode:
            description: Its mode, in octal digits.
            type: str
            default: "0644"
      directories:
        description: Empty folders that everybody may write to.
        type: list
        elements: str
        default: [/tmp]
      waiting_program:
        description: Whether the image holds C(/pause), a program that waits until it is killed.
        type: bool
        default: false
      command:
        description: What a container of the image runs.
        type: list
        elements: str
        default: []
      environment:
        description: Environment variables of a container of the image.
        type: dict
        default: {}
attributes:
  check_mode:
    description: Says what would be written or removed and does not do it.
    support: full
  diff_mode:
    description: Shows the names of the images before and after.
    support: full
  idempotent:
    description: An archive with the same content is not written again.
    support: full
"""

EXAMPLES = r"""
- name: Write the image of a tool
  bench_image:
    images:
      - name: nightbench.local/tools
        path: /srv/nightbench/tools.tar
        programs: [/usr/bin/iperf3]
        python:
          scripts: [files/agent.py]
        files:
          - {source: files/agent.py, path: /agent.py}
        command: [/usr/bin/python3, /agent.py]
  register: written
"""

RETURN = r"""
images:
  description: The images in the order asked for.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Full name with its tag; with O(state=absent) that of the archive, empty where there was none.
      returned: always
      type: str
      sample: nightbench.local/tools:0123456789ab
    path:
      description: The archive.
      returned: always
      type: str
    digest:
      description: Digest of the manifest.
      returned: with O(state=present)
      type: str
    size:
      description: Size of the archive in bytes.
      returned: with O(state=present)
      type: int
    changed:
      description: Whether this call wrote or removed it.
      returned: always
      type: bool
"""

import os
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.nightbench.errors import NightbenchError
from ..module_utils.nightbench.image import build, name_in
from ..module_utils.nightbench.image_content import image_of
from ..module_utils.nightbench.module_failure import failures_told

PYTHON_SPEC: dict[str, dict[str, Any]] = {
    "interpreter": {"type": "path"},
    "scripts": {"type": "list", "elements": "path", "default": []},
    "modules": {"type": "list", "elements": "str", "default": []},
}
FILE_SPEC: dict[str, dict[str, Any]] = {
    "source": {"type": "path", "required": True},
    "path": {"type": "str", "required": True},
    "mode": {"type": "str", "default": "0644"},
}
IMAGE_SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "path": {"type": "path", "required": True},
    "programs": {"type": "list", "elements": "path", "default": []},
    "python": {"type": "dict", "options": PYTHON_SPEC},
    "files": {"type": "list", "elements": "dict", "options": FILE_SPEC, "default": []},
    "directories": {"type": "list", "elements": "str", "default": ["/tmp"]},
    "waiting_program": {"type": "bool", "default": False},
    "command": {"type": "list", "elements": "str", "default": []},
    "environment": {"type": "dict", "default": {}},
}
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "images": {"type": "list", "elements": "dict", "required": True, "options": IMAGE_SPEC},
}


def present(item: dict[str, Any], check: bool) -> tuple[dict[str, Any], str]:
    """What is there now, and the image's name before."""
    path = Path(item["path"])
    before = known_name(path)
    archive = build(image_of(item))
    changed = not path.is_file() or path.read_bytes() != archive.data
    if changed and not check:
        write(path, archive.data)
    outcome = {"name": archive.name, "path": str(path), "digest": archive.digest, "size": len(archive.data)}
    return {**outcome, "changed": changed}, before


def absent(item: dict[str, Any], check: bool) -> tuple[dict[str, Any], str]:
    path = Path(item["path"])
    before = known_name(path)
    there = path.is_file()
    if there and not check:
        path.unlink()
    return {"name": before, "path": str(path), "changed": there}, before


def known_name(path: Path) -> str:
    """The image's name; empty for a file that is not there or is no whole archive, which is written anew."""
    try:
        return name_in(path)
    except NightbenchError:
        return ""


def write(path: Path, data: bytes) -> None:
    """Readers see the old archive or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            os.fchmod(stream.fileno(), 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    step = {"present": present, "absent": absent}[module.params["state"]]
    with failures_told(module):
        done = [step(item, module.check_mode) for item in module.params["images"]]
    result: dict[str, Any] = {
        "changed": any(image["changed"] for image, _ in done),
        "images": [image for image, _ in done],
    }
    if module._diff:
        after = module.params["state"] == "present"
        result["diff"] = {
            "before": {image["path"]: before for image, before in done if image["changed"]},
            "after": {image["path"]: image["name"] for image, _ in done if image["changed"] and after},
        }
    module.exit_json(**result)


if __name__ == "__main__":
    main()
