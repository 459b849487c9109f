"""The folder of a run: space, hashes that are remembered, outputs that are published, logs that are kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from acsrecipe.errors import EngineError, IntegrityError, LockedError, OutputError
from acsrecipe.files import sha256_file
from acsrecipe.plan.model import Output, PlannedFile, Task
from acsrecipe.run.hashes import HashMemo, take_mark
from acsrecipe.run.space import LOG_BYTES, bytes_needed, explain_full_disk, scratch_of
from acsrecipe.run.workdir import LONGEST, RunFolder, in_use, is_in_use

TASK = Task(id="calibrate/x", kind="calibrate", exposures=("x",))


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "run")
    made.prepare()
    return made


def make(folder: RunFolder, name: str = "x_flt.fits", data: bytes = b"product", where: str = "products"):
    attempt = folder.start_attempt(TASK)
    path = attempt / name
    path.write_bytes(data)
    output = {
        "name": name,
        "folder": where,
        "size": len(data),
        "sha256": sha256_file(path),
        "mark": take_mark(path),
    }
    return attempt, [output]


def publish(folder: RunFolder, *made, ours=None):
    attempt, outputs = made or make(folder)
    return folder.publish(attempt, folder.describe(attempt, outputs), ours or {})


def test_what_is_published_is_found_again_and_an_edit_is_seen(folder):
    (output,) = publish(folder)
    assert output["path"] == "products/x_flt.fits"
    assert folder.lacks(output) == ""
    folder.locate(output).write_bytes(b"pr0duct")
    assert folder.lacks(output) == "is not as it was left"
    folder.locate(output).unlink()
    assert folder.lacks(output) == "is gone"


def test_an_output_that_changed_after_it_was_checked_is_not_published(folder):
    attempt, outputs = make(folder)
    (attempt / "x_flt.fits").write_bytes(b"product, late")
    with pytest.raises(IntegrityError, match="changed after it was checked"):
        folder.describe(attempt, outputs)
    (attempt / "x_flt.fits").unlink()
    with pytest.raises(IntegrityError):
        folder.describe(attempt, outputs)


def test_ours_is_replaced_and_the_users_is_kept_aside_each_time(folder):
    (first,) = publish(folder)
    ours = {first["path"]: {first["sha256"]}}
    (second,) = publish(folder, *make(folder, data=b"better"), ours=ours)
    assert "kept_aside" not in second
    for number in (1, 2):
        folder.locate(first).write_bytes(b"by hand %d" % number)
        (third,) = publish(folder, *make(folder, data=b"best"), ours=ours)
        assert third["kept_aside"] == f"products/x_flt.fits.kept-{number}"
        assert (folder.root / third["kept_aside"]).read_bytes() == b"by hand %d" % number
    assert folder.locate(first).read_bytes() == b"best"


def test_a_folder_at_the_name_of_a_product_is_kept_aside_too(folder):
    (folder.root / "products" / "x_flt.fits" / "deep").mkdir(parents=True)
    (output,) = publish(folder)
    assert output["kept_aside"] == "products/x_flt.fits.kept-1"
    assert folder.locate(output).read_bytes() == b"product"


def test_hashes_are_read_once_and_again_when_anything_about_the_file_changes(tmp_path, monkeypatch):
    path, reads = tmp_path / "file", []
    path.write_bytes(b"one")
    monkeypatch.setattr("acsrecipe.run.hashes.sha256_file", lambda name: reads.append(name) or sha256_file(name))
    memo = HashMemo(tmp_path / "memo")
    assert memo.sha256(path) == memo.sha256(path) == sha256_file(path)
    memo.save()
    again = HashMemo(tmp_path / "memo")
    assert again.sha256(path) == sha256_file(path)
    assert len(reads) == 1
    found = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert again.sha256(path) == sha256_file(path)
    assert len(reads) == 2
    assert HashMemo(tmp_path / "memo", trusted=False).sha256(path) == sha256_file(path)
    assert len(reads) == 3


def test_an_attempt_is_in_use_as_long_as_its_worker_or_its_programs_live(folder):
    attempt = folder.start_attempt(TASK)
    assert not is_in_use(attempt)
    with in_use(attempt):
        assert is_in_use(attempt)
        assert folder.sweep_all([]) == [attempt]
        assert attempt.is_dir()
    assert folder.sweep_all([]) == []
    assert not attempt.exists()


def test_sweeping_leaves_what_is_needed_and_what_is_none_of_its_business(folder):
    needed, dead = folder.start_attempt(TASK), folder.start_attempt(TASK)
    (folder.work / "note.txt").write_text("a user's")
    (folder.root / "products" / ".x_flt.fits.0123456789abcdef.tmp").write_text("half")
    (folder.root / "products" / ".hidden.tmp").write_text("a user's")
    folder.sweep_all([needed])
    assert needed.is_dir()
    assert not dead.exists()
    assert (folder.work / "note.txt").exists()
    assert sorted(path.name for path in (folder.root / "products").iterdir()) == [".hidden.tmp"]


def test_a_look_at_the_lock_holds_nothing(folder):
    folder.refuse_second()
    with folder.alone(), pytest.raises(LockedError, match=f"pid {os.getpid()} on "):
        folder.refuse_second()
    with folder.alone():
        pass
    RunFolder(folder.root / "not yet there").refuse_second()


def test_attempts_of_a_folder_with_a_long_path_lie_elsewhere_while_it_runs(tmp_path):
    root = tmp_path
    while len(os.fsencode(root)) <= LONGEST:
        root = root / ("d" * 100)
    folder = RunFolder(root)
    folder.prepare()
    assert folder.work.is_symlink()
    attempt = folder.start_attempt(TASK)
    assert len(os.fsencode(attempt.resolve())) < 200
    assert attempt.resolve().parent.parent.stat().st_mode & 0o777 == 0o700
    elsewhere = folder.work.resolve()
    folder.sweep_all([])
    folder.leave()
    assert not os.path.lexists(folder.work)
    assert not elsewhere.exists()
    folder.prepare()
    cleared = folder.work.resolve()
    cleared.rmdir()
    folder.prepare()
    assert folder.work.is_dir(), "the system clears such folders away: it is made again"
    folder.leave()


def test_logs_of_a_failed_task_are_kept(folder):
    attempt = folder.start_attempt(TASK)
    (attempt / "calacs.log").write_text("said")
    (attempt / "x.tra").symlink_to("/etc/passwd")
    assert folder.keep_logs(attempt, TASK) == ["logs/failed-calibrate-x-calacs.log"]
    assert (folder.root / "logs" / "failed-calibrate-x-calacs.log").read_text() == "said"


def test_space_is_that_of_all_products_and_of_the_largest_tasks_that_run_together():
    def task(size: int, where: str) -> Task:
        return Task(
            id=f"calibrate/{size}{where}",
            kind="calibrate",
            exposures=("x",),
            inputs=(PlannedFile(role="RAW", path="x", size=1000),),
            outputs=(Output(name="x", folder=where, size=size),),
        )

    small, large, hidden = task(10, "products"), task(100, "products"), task(50, "")
    assert scratch_of(large) == 1000 + 100 + LOG_BYTES
    assert scratch_of(hidden) == 1000 + 2 * 50 + LOG_BYTES
    # One more is still being hashed: its staged input, and what it does not publish.
    assert bytes_needed([small, large, hidden], 1) == 110 + scratch_of(large) + 1000 + 50
    assert bytes_needed([small, large, hidden], 2) == 110 + 2 * scratch_of(large) + 2 * 1000 + 50
    assert bytes_needed([large], 1) == 100 + scratch_of(large)
    assert scratch_of(Task(id="fetch/x", kind="fetch", exposures=())) == 0


def test_only_an_error_that_a_full_disk_explains_is_told_as_one(folder, monkeypatch):
    failed = EngineError("ended with exit status 2", where="calibrate/x", code="E004")
    assert explain_full_disk(failed, TASK, folder) is failed
    monkeypatch.setattr(RunFolder, "free_space", lambda self: 1000)
    told = explain_full_disk(failed, TASK, folder)
    assert isinstance(told, OutputError)
    assert "needs about" in told.message
    assert "1000 are free" in told.message
    refused = IntegrityError("changed since the plan")
    assert explain_full_disk(refused, TASK, folder) is refused
