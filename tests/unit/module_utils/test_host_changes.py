# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run changes on the machine is written down first and put back, unless somebody else has changed it since."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.module_utils.nightbench import host_changes
from ansible.module_utils.nightbench.errors import ConfigurationError


@pytest.fixture
def setting(tmp_path: Path) -> Path:
    path = tmp_path / "gc_thresh3"
    path.write_text("1024\n")
    return path


def raised(folder: Path, setting: Path, value: int) -> None:
    host_changes.raise_settings(folder, host_changes.settings_to_raise({str(setting): value}))


def test_a_setting_is_raised_and_put_back(tmp_path: Path, setting: Path) -> None:
    raised(tmp_path, setting, 8192)
    assert setting.read_text() == "8192"
    assert host_changes.remains(tmp_path) == [f"{setting}=8192"]
    assert host_changes.put_back(tmp_path) == [f"{setting}=8192"]
    assert setting.read_text() == "1024"
    assert host_changes.put_back(tmp_path) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gc_thresh3"]


def test_it_is_never_lowered(tmp_path: Path, setting: Path) -> None:
    assert host_changes.settings_to_raise({str(setting): 1024}) == {}
    assert host_changes.settings_to_raise({str(setting): 0}) == {}


def test_raised_twice_the_first_value_comes_back(tmp_path: Path, setting: Path) -> None:
    raised(tmp_path, setting, 2048)
    raised(tmp_path, setting, 8192)
    host_changes.put_back(tmp_path)
    assert setting.read_text() == "1024"


def test_what_somebody_else_has_set_since_stays(tmp_path: Path, setting: Path) -> None:
    raised(tmp_path, setting, 8192)
    setting.write_text("16384\n")
    assert host_changes.remains(tmp_path) == []
    host_changes.put_back(tmp_path)
    assert setting.read_text() == "16384\n"


def test_it_is_written_down_before_it_is_done(tmp_path: Path, setting: Path) -> None:
    low = host_changes.settings_to_raise({str(setting): 8192})
    setting.unlink()
    setting.mkdir()  # as a kill between the two would have it: nothing has been set
    with pytest.raises(IsADirectoryError):
        host_changes.raise_settings(tmp_path, low)
    assert host_changes.known(tmp_path)["settings"] == {str(setting): {"before": "1024", "ours": "8192"}}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"cgroups": null}'])
def test_a_damaged_file_names_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / host_changes.FILE).write_text(content)
    assert host_changes.known(tmp_path) == {"cgroups": [], "settings": {}}
    assert host_changes.put_back(tmp_path) == []


@pytest.mark.parametrize("name", ["system.slice", "", "nightbench-1/../system.slice"])
def test_a_cgroup_of_somebody_else_is_never_removed(name: str) -> None:
    with pytest.raises(ConfigurationError, match="no cgroup of ours"):
        host_changes.remove_cgroup(name)


def test_a_cgroup_is_removed_with_everything_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hierarchies = [tmp_path / "cpu", tmp_path / "memory"]
    for hierarchy in hierarchies:
        (hierarchy / "nightbench-1" / "real-0" / "kubepods").mkdir(parents=True)
        (hierarchy / "other").mkdir()
    monkeypatch.setattr(host_changes, "hierarchies", lambda: hierarchies)
    host_changes.note_cgroup(tmp_path, "nightbench-1")
    assert len(host_changes.remains(tmp_path)) == 2
    host_changes.put_back(tmp_path)
    assert [sorted(path.name for path in one.iterdir()) for one in hierarchies] == [["other"], ["other"]]
