# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible.module_utils.nightbench.errors import DeadlineExceeded, Stopped
from ansible.module_utils.nightbench.tool_cache import Cache, Entry
from ansible.module_utils.nightbench.tool_job import Job

from tests.toolchain import script, stored

RECIPE, OTHER = "ab" * 32, "cd" * 32
FACTS = {"version": "1.2.3", "source": "download", "detail": "https://example.com/hello"}


@pytest.fixture
def job() -> Job:
    return Job(deadline_seconds=30)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "tools")


def put(cache: Cache, job: Job, recipe: str = RECIPE, name: str = "hello", version: str = "1.2.3") -> Entry:
    with cache.writing(name, job) as work:
        (work / name).write_bytes(script(version))
        return cache.store(name, recipe, work / name, {**FACTS, "version": version})


def test_a_stored_tool_is_found_again_by_its_recipe_alone(cache: Cache, job: Job) -> None:
    entry = put(cache, job)
    folder = cache.root / "hello" / f"1.2.3-{RECIPE[:12]}"
    assert cache.find("hello", RECIPE) == (entry, "")
    assert entry.path == str(folder / "hello")
    assert os.access(entry.path, os.X_OK)
    assert cache.find("hello", OTHER) == (None, "")
    assert cache.find("other", RECIPE) == (None, "")
    assert sorted(path.name for path in (cache.root / "hello").iterdir()) == [folder.name]


def test_storing_again_replaces_the_old_folder(cache: Cache, job: Job) -> None:
    put(cache, job, version="1.2.3")
    entry = put(cache, job, version="1.2.4")
    assert cache.find("hello", RECIPE) == (entry, "")
    assert [path.name for path in (cache.root / "hello").iterdir()] == [f"1.2.4-{RECIPE[:12]}"]


def shorten(path: Path) -> None:
    os.truncate(path, 3)


def same_size(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"1.2.3", b"6.6.6"))


def set_metadata(text: str) -> Callable[[Path], None]:
    return lambda path: (path.parent / "metadata.json").write_text(text) and None


def without_metadata(path: Path) -> None:
    (path.parent / "metadata.json").unlink()


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (shorten, "hello has sha256 "),
        (same_size, "hello has sha256 "),
        (os.unlink, "No such file"),
        (without_metadata, "its metadata is missing"),
        (set_metadata('{"recipe": '), "is not valid JSON"),
        (set_metadata("[]"), "its metadata is missing"),
        (set_metadata(json.dumps({"recipe": RECIPE})), "'file'"),
        (set_metadata(json.dumps({"recipe": OTHER})), "belongs to another recipe"),
    ],
    ids=["shortened", "same size", "gone", "no metadata", "torn metadata", "a list", "no field", "another recipe"],
)
def test_a_damaged_entry_is_not_used_and_the_damage_is_named(
    cache: Cache, job: Job, damage: Callable[[Path], None], text: str
) -> None:
    damage(Path(put(cache, job).path))
    entry, problem = cache.find("hello", RECIPE)
    assert entry is None
    assert text in problem
    assert f"1.2.3-{RECIPE[:12]}" in problem


def test_a_file_that_was_only_touched_is_hashed_once_and_used(cache: Cache, job: Job) -> None:
    entry = put(cache, job)
    os.utime(entry.path, (1, 1))
    assert cache.find("hello", RECIPE) == (entry, "")
    metadata = json.loads(Path(entry.path).with_name("metadata.json").read_text())
    assert metadata["seen"][2] == 1_000_000_000


def test_a_writer_that_fails_leaves_nothing(cache: Cache, job: Job) -> None:
    def fail() -> None:
        with cache.writing("hello", job) as work:
            (work / "half").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert stored(cache.root) == []
    assert not (cache.root / "hello").exists()


def test_what_a_killed_writer_left_is_swept_with_its_unwritable_folders(cache: Cache, job: Job) -> None:
    entry = put(cache, job)
    left = cache.root / "hello" / ".work-1-dead" / "go"
    left.mkdir(parents=True)
    (left / "half").write_text("half")
    left.chmod(0o555)
    cache.sweep("hello", job)
    assert not left.parent.exists()
    assert cache.find("hello", RECIPE) == (entry, "")


def test_the_work_of_a_living_writer_is_not_swept(cache: Cache, job: Job) -> None:
    with cache.writing("hello", job) as work:
        cache.sweep("hello", job)
        assert work.is_dir()


def test_a_second_writer_waits_for_the_first(cache: Cache, job: Job) -> None:
    seen: list[Entry | None] = []

    def second() -> None:
        with cache.writing("hello", job):
            seen.append(cache.find("hello", RECIPE)[0])

    with cache.writing("hello", job) as work:
        thread = threading.Thread(target=second)
        thread.start()
        (work / "hello").write_bytes(script("1.2.3"))
        entry = cache.store("hello", RECIPE, work / "hello", FACTS)
    thread.join(10)
    assert seen == [entry]


def test_writers_of_different_tools_do_not_wait_for_each_other(cache: Cache, job: Job) -> None:
    with cache.writing("hello", job):
        assert put(cache, job, name="other").version == "1.2.3"


def test_who_waits_for_the_lock_still_obeys_deadline_and_stop_file(cache: Cache, job: Job, tmp_path: Path) -> None:
    (tmp_path / "stop").touch()
    with cache.writing("hello", job):
        with pytest.raises(DeadlineExceeded), cache.writing("hello", Job(deadline_seconds=0)):
            pass
        stopped = Job(deadline_seconds=30, run_state=str(tmp_path))
        with pytest.raises(Stopped), cache.writing("hello", stopped):
            pass


def test_removing_the_last_tool_removes_the_cache(cache: Cache, job: Job) -> None:
    put(cache, job)
    put(cache, job, name="other")
    (cache.root / ".apt" / "lists").mkdir(parents=True)
    assert cache.remove("hello", job) is True
    assert cache.names() == ["other"]
    assert cache.remove("hello", job) is False
    assert cache.remove("other", job) is True
    assert not cache.root.exists()


def test_writers_and_removers_never_work_on_one_tool_at_once(cache: Cache, job: Job) -> None:
    at_work: list[str] = []
    beside: list[list[str]] = []

    def work(number: int) -> None:
        for _ in range(10):
            with cache.writing("hello", job) as folder:
                at_work.append(folder.name)
                (folder / "hello").write_bytes(script("1.2.3"))
                cache.store("hello", RECIPE, folder / "hello", FACTS)
                beside.append([name for name in at_work if name != folder.name])
                at_work.remove(folder.name)
            if number % 2:
                cache.remove("hello", job)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, number) for number in range(4)]:
            done.result()
    assert beside == [[]] * 40


def test_removing_from_a_cache_that_is_not_there_makes_none(cache: Cache, job: Job) -> None:
    assert cache.remove("hello", job) is False
    assert not cache.root.exists()
