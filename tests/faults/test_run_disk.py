"""Rows 6, 8, 13, 14, 45 and 46 of the fault table: disks that are full, read-only, without locks or links."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import resource
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standins.small_run import (
    ROOTS,
    FakeStep,
    assert_tidy,
    content,
    finishes,
    in_child,
    make_plan,
    run_here,
    write_inputs,
)

from acsrecipe.errors import AcsRecipeError, IntegrityError, OutputError
from acsrecipe.plan.model import Plan
from acsrecipe.run.journal import read_journal
from acsrecipe.run.workdir import RunFolder

ONE = ROOTS[:1]
SIZE = 40_000
"""Bytes of each made-up product."""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    write_inputs(tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def plan(base: Path) -> Plan:
    return make_plan(base, roots=ONE, size=SIZE)


def run_or_raise(plan: Plan, base: Path, output: Path, step: FakeStep) -> None:
    for error in run_here(plan, base, output, step).failed.values():
        raise error


@pytest.mark.parametrize("limit", [0, 10, 500, 2000, 5000, 9000, 20_000, 39_999, 45_000, 1_000_000])
def test_files_that_can_not_grow_beyond_any_size_give_a_clear_error_and_the_next_run_finishes(
    tmp_path, base, plan, limit
):
    before = {path: path.read_bytes() for path in base.rglob("*") if path.is_file()}
    output, step = tmp_path / "run", FakeStep(size=SIZE)

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        run_or_raise(plan, base, output, step)

    def told() -> None:
        try:
            limited()
        except AcsRecipeError as error:
            os.write(pipe[1], str(error).encode())
            raise

    pipe = os.pipe()
    status = in_child(told)
    os.close(pipe[1])
    text = os.read(pipe[0], 10_000).decode()
    os.close(pipe[0])
    assert os.waitstatus_to_exitcode(status) == (0 if limit > SIZE else 7), text
    if status:
        assert "File too large" in text or "could be written" in text
        assert str(output) in text
        assert "space" in text
    assert {path: path.read_bytes() for path in base.rglob("*") if path.is_file()} == before
    run_here(plan, base, output, step)
    assert len(content(output)) == 2
    assert set(finishes(output).values()) == {1}
    assert_tidy(output)


def _mount_small_disk(folder: Path, size: int, inodes: int = 0, *, flags: int = 0, again: bool = False) -> None:
    """Mount a disk in memory over a folder, for this process only."""
    libc = ctypes.CDLL(None, use_errno=True)
    remount = 32
    if not again:
        if libc.unshare(0x20000) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None)
    options = f"size={size}" + (f",nr_inodes={inodes}" if inodes else "")
    if libc.mount(b"none", os.fsencode(folder), b"tmpfs", flags | (remount if again else 0), options.encode()) != 0:
        raise OSError(ctypes.get_errno(), "mount")


@pytest.fixture
def small_disks(tmp_path: Path) -> None:
    """A skip where a process can't have a disk of its own."""
    probe = tmp_path / "probe"
    probe.mkdir()
    done = subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "-o", "size=64k", "none", probe], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("this machine lets no process mount a disk of its own (unshare -m)")


@pytest.mark.parametrize("kilobytes", [0, 4, 8, 12, 20, 32, 48, 64, 80, 96, 112, 128, 160, 256, 4096])
@pytest.mark.usefixtures("small_disks")
def test_a_disk_that_is_too_small_by_any_amount(tmp_path, base, kilobytes):
    """The plan underestimates its products, so that the disk gets full while tasks run, and not before."""
    plan = make_plan(base, roots=ROOTS, size=0)
    before = {path: path.read_bytes() for path in base.rglob("*") if path.is_file()}
    disk, story = tmp_path / "disk", tmp_path / "story"
    disk.mkdir()
    step = FakeStep(size=SIZE)

    def work() -> None:
        _mount_small_disk(disk, max(1, kilobytes) * 1024)
        told = []
        try:
            from acsrecipe.run import space

            space.LOG_BYTES = 0
            run_or_raise(plan, base, disk / "run", step)
        except AcsRecipeError as error:
            told = [type(error).__name__, error.exit_code, str(error)]
        half = {name: len(data) for name, data in content(disk / "run").items()}
        _mount_small_disk(disk, 1 << 24, again=True)
        run_here(plan, base, disk / "run", step)
        assert_tidy(disk / "run")
        whole = {name: len(data) for name, data in content(disk / "run").items()}
        story.write_text(json.dumps([told, half, whole, finishes(disk / "run")]))

    assert in_child(work) == 0
    told, half, whole, count = json.loads(story.read_text())
    assert len(whole) == 4
    assert all(half[name] == whole[name] for name in half), "a half product"
    assert set(count.values()) == {1}
    assert {path: path.read_bytes() for path in base.rglob("*") if path.is_file()} == before
    if kilobytes < 200:
        assert told[1] == 7, told
        assert str(disk) in told[2], "names the file"
        assert "space" in told[2], "says what to do"
    else:
        assert told == []


@pytest.mark.usefixtures("small_disks")
def test_a_disk_without_room_for_more_files(tmp_path, base, plan):
    disk = tmp_path / "disk"
    disk.mkdir()

    def work() -> None:
        _mount_small_disk(disk, 1 << 24, inodes=12)
        with pytest.raises(OutputError) as caught:
            run_or_raise(plan, base, disk / "run", FakeStep())
        assert "No space left" in str(caught.value)
        _mount_small_disk(disk, 1 << 24, inodes=1000, again=True)
        run_here(plan, base, disk / "run")
        assert_tidy(disk / "run")
        assert len(content(disk / "run")) == 2

    assert in_child(work) == 0


@pytest.mark.usefixtures("small_disks")
def test_a_read_only_output_is_refused_before_anything_runs(tmp_path, base, plan):
    disk = tmp_path / "disk"
    disk.mkdir()

    def work() -> None:
        _mount_small_disk(disk, 1 << 20)
        _mount_small_disk(disk, 1 << 20, flags=1, again=True)
        with pytest.raises(OutputError) as caught:
            run_here(plan, base, disk / "run")
        assert "Read-only" in str(caught.value)
        assert "--output" in str(caught.value.hint)

    assert in_child(work) == 0


def test_space_is_counted_before_and_both_numbers_are_named(tmp_path, base, monkeypatch):
    plan = make_plan(base, size=10**15)
    with pytest.raises(OutputError) as caught:
        run_here(plan, base, tmp_path / "run")
    # Four products of 10^15 bytes, and for the task that runs a staged input, what it hands on, and that once more.
    assert caught.value.code == "O003"
    assert int(caught.value.message.split()[0]) > 4 * 10**15 + 2 * 10**15
    assert "are free" in caught.value.message


def test_an_engine_that_fails_on_a_full_disk_is_an_error_of_the_disk(tmp_path, base, plan, monkeypatch):
    from acsrecipe.errors import EngineError

    def fail(task: object) -> None:
        msg = "calacs.e ended with exit status 2"
        monkeypatch.setattr(RunFolder, "free_space", lambda self: 4096)
        raise EngineError(msg, where="make", code="E004")

    result = run_here(plan, base, tmp_path / "run", FakeStep(hook=fail))
    (error,) = result.failed.values()
    assert error.exit_code == 7
    assert "4096 are free" in str(error)
    assert "needs about" in str(error)


def test_a_disk_without_locks_is_refused_not_trusted(tmp_path, base, plan, monkeypatch):
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OutputError) as caught:
        run_here(plan, base, tmp_path / "run")
    assert "no locks" in caught.value.message


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.EXDEV])
def test_a_disk_without_hard_links_gets_the_same_products(tmp_path, base, plan, monkeypatch, code):
    run_here(plan, base, tmp_path / "fresh")
    link = os.link

    def refuse(source: object, target: object, **how: object) -> None:
        if not str(source).endswith(".tmp"):
            raise OSError(code, "no links here")
        link(source, target, **how)

    monkeypatch.setattr(os, "link", refuse)
    run_here(plan, base, tmp_path / "run")
    assert content(tmp_path / "run") == content(tmp_path / "fresh")
    assert_tidy(tmp_path / "run")


def test_times_of_change_that_stand_still_hide_no_edit_from_verify(tmp_path, base, plan):
    """A coarse clock, or one who sets it back: inode, size and times are as before, the bytes are not."""
    output = tmp_path / "run"
    run_here(plan, base, output)
    product = output / "products" / f"{ONE[0]}_flt.fits"
    good, memory = product.read_bytes(), json.loads((output / ".hashes.json").read_text())
    product.write_bytes(b"X" + good[1:])
    found = product.stat()
    memory[str(product)][0] = [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
    (output / ".hashes.json").write_text(json.dumps(memory))
    assert run_here(plan, base, output).finished == ()
    result = run_here(plan, base, output, verify=True)
    assert f"rewrite/{ONE[0]}" in result.finished
    assert product.read_bytes() == good


@pytest.mark.parametrize("rubbish", [b"", b"{", b"[1, 2]", b'{"a": 3}', b'{"a": [1, 2, 3]}', b"\xff\xfe"])
def test_a_damaged_memory_of_hashes_is_no_memory(tmp_path, base, plan, rubbish):
    output = tmp_path / "run"
    run_here(plan, base, output)
    (output / ".hashes.json").write_bytes(rubbish)
    assert run_here(plan, base, output).finished == ()


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_published_files_have_the_permissions_that_the_umask_leaves(tmp_path, base, plan, umask):
    def work() -> None:
        os.umask(umask)
        run_here(plan, base, tmp_path / "run")

    assert in_child(work) == 0
    for name in ("products", "plots"):
        for path in (tmp_path / "run" / name).iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    assert stat.S_IMODE((tmp_path / "run" / "provenance.jsonl").stat().st_mode) == 0o666 & ~umask


def test_a_product_that_was_edited_is_made_again_and_the_edited_one_kept(tmp_path, base, plan):
    output = tmp_path / "run"
    run_here(plan, base, output)
    good = content(output)
    product = output / "products" / f"{ONE[0]}_flt.fits"
    product.write_bytes(b"edited by hand")
    result = run_here(plan, base, output)
    assert result.finished == (f"make/{ONE[0]}", f"rewrite/{ONE[0]}")
    assert product.with_name(product.name + ".kept-1").read_bytes() == b"edited by hand"
    product.with_name(product.name + ".kept-1").unlink()
    assert content(output) == good


@pytest.mark.parametrize("name", ["products", "plots"])
def test_a_product_that_was_removed_is_made_again(tmp_path, base, plan, name):
    output = tmp_path / "run"
    run_here(plan, base, output)
    good = content(output)
    next((output / name).iterdir()).unlink()
    assert run_here(plan, base, output).finished
    assert content(output) == good
    assert_tidy(output)


def test_a_link_at_the_name_of_a_product_is_not_followed(tmp_path, base, plan):
    output = tmp_path / "run"
    (output / "products").mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.write_bytes(b"not yours")
    (output / "products" / f"{ONE[0]}_flt.fits").symlink_to(victim)
    run_here(plan, base, output)
    assert victim.read_bytes() == b"not yours"
    assert not (output / "products" / f"{ONE[0]}_flt.fits").is_symlink()


def test_an_input_that_changes_while_it_is_staged_fails_its_task_and_only_that(tmp_path, base):
    plan = make_plan(base)
    raw = base / "data" / f"{ROOTS[0]}_raw.fits"
    raw.write_bytes(raw.read_bytes()[:-1] + b"!")
    result = run_here(plan, base, tmp_path / "run")
    assert list(result.failed) == [f"make/{ROOTS[0]}"]
    assert result.failed[f"make/{ROOTS[0]}"].exit_code == 8
    assert "changed since the plan" in str(result.failed[f"make/{ROOTS[0]}"])
    assert len(content(tmp_path / "run")) == 2


@pytest.mark.parametrize("where", ["products", "logs", "work"])
def test_a_run_does_not_write_where_it_reads(tmp_path, where):
    """Row 26: an input below the output's own folders could be replaced while a task reads it."""
    output = tmp_path / "run"
    output.mkdir()
    write_inputs(output / where, ONE)
    plan = make_plan(output / where, roots=ONE)
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    (tmp_path / "link").symlink_to(output / where)
    for base in (output / where, tmp_path / "link"):
        with pytest.raises(OutputError) as caught:
            run_here(plan, base, output)
        assert caught.value.code == "O007"
    assert {path: data for path, data in before.items() if path.read_bytes() == data} == before


def test_the_log_of_another_recipe_is_gone_on_with_and_says_what_changed(tmp_path, base):
    """Row 12: a folder in which another plan ran."""
    run_here(make_plan(base, roots=ONE), base, tmp_path / "run")
    result = run_here(make_plan(base, roots=ONE, rewrite="other"), base, tmp_path / "run")
    assert result.finished == (f"make/{ONE[0]}", f"rewrite/{ONE[0]}", f"draw/{ONE[0]}")
    started = {
        event["task"]: event["reason"]
        for event in read_journal(tmp_path / "run" / "provenance.jsonl")
        if event["event"] == "task-started"
    }
    assert started[f"rewrite/{ONE[0]}"] == "text b -> other"
    assert started[f"make/{ONE[0]}"] == f"rewrite/{ONE[0]} needs what it makes"
    assert started[f"draw/{ONE[0]}"] == f"rewrite/{ONE[0]} is done again"


@settings(max_examples=60)
@given(where=st.integers(0, 10**6), byte=st.integers(0, 10**6), change=st.integers(0, 255))
def test_a_log_with_any_byte_changed_or_any_line_removed_is_refused_with_its_byte(
    tmp_path_factory, where, byte, change
):
    """Row 12, as a run meets it: exit code 8, nothing is done, nothing is written."""
    folder = tmp_path_factory.mktemp("log")
    write_inputs(folder / "base", ONE)
    plan = make_plan(folder / "base", roots=ONE)
    run_here(plan, folder / "base", folder / "run")
    log = folder / "run" / "provenance.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    which = where % (len(lines) - 1)
    if change:
        line = bytearray(lines[which])
        line[byte % len(line)] ^= change
        lines[which] = bytes(line)
    else:
        del lines[which]
    damaged = b"".join(lines)
    log.write_bytes(damaged)
    with pytest.raises(IntegrityError) as caught:
        run_here(plan, folder / "base", folder / "run")
    assert caught.value.exit_code == 8
    assert "byte" in caught.value.message
    assert log.read_bytes() == damaged
