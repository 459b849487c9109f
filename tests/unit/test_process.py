"""One external program: environment, log, deadline, process group, and what it leaves."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acsrecipe.process import LINE_LIMIT, Limits, clean_text, run_program

ENV = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def program(tmp_path: Path):
    """Write a program in Python or sh and return its path."""

    def write(text: str, shell: bool = False) -> str:
        path = tmp_path / "program"
        lead = "#!/bin/sh\n" if shell else f"#!{sys.executable} -IS\n"
        path.write_text(lead + textwrap.dedent(text))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    return write


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def gone_within(pid: int, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not is_alive(pid):
            return True
        time.sleep(0.02)
    return False


def test_a_program_that_ends_well_gives_its_status_lines_and_log(program, tmp_path):
    lines = []
    done = run_program(
        [program("echo out; echo err >&2; printf rest", shell=True)],
        cwd=tmp_path,
        env=ENV,
        log=tmp_path / "x.log",
        on_line=lines.append,
    )
    assert done.succeeded
    assert done.exit_status == 0
    assert done.ended == "exited"
    assert lines == ["out", "err", "rest"] == list(done.tail)
    assert (tmp_path / "x.log").read_text() == "out\nerr\nrest\n"


def test_the_environment_is_the_one_given_and_nothing_else(program, tmp_path, monkeypatch):
    for name in ("imclobber", "jref", "LD_PRELOAD", "OMP_NUM_THREADS", "CRDS_PATH", "PYTHONPATH", "MAST_API_TOKEN"):
        monkeypatch.setenv(name, "hostile")
    done = run_program(["/usr/bin/env"], cwd=tmp_path, env={"ONLY": "this one"})
    assert done.tail == ("ONLY=this one",)


def test_stdin_is_empty_and_the_folder_is_the_one_given(program, tmp_path):
    folder = tmp_path / "a b$c[d]"
    folder.mkdir()
    done = run_program([program("pwd; cat; echo end", shell=True)], cwd=folder, env=ENV)
    assert done.tail == (str(folder), "end")


@pytest.mark.parametrize(
    ("text", "status", "ended", "words"),
    [
        ("exit 2", 2, "exited", "ended with exit status 2"),
        ("kill -SEGV $$", 139, "killed", "was killed by SIGSEGV (exit status 139)"),
        ("kill -ABRT $$", 134, "killed", "was killed by SIGABRT (exit status 134)"),
    ],
)
def test_an_end_is_told_as_a_shell_tells_it(program, tmp_path, text, status, ended, words):
    done = run_program([program(text, shell=True)], cwd=tmp_path, env=ENV)
    assert (done.exit_status, done.ended, done.describe()) == (status, ended, words)
    assert not done.succeeded


def test_a_program_that_is_missing_or_not_executable_raises_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        run_program([str(tmp_path / "none")], cwd=tmp_path, env=ENV)
    (tmp_path / "plain").write_text("x")
    with pytest.raises(PermissionError):
        run_program([str(tmp_path / "plain")], cwd=tmp_path, env=ENV)


def test_a_program_that_hangs_is_stopped_at_its_deadline(program, tmp_path):
    started = time.monotonic()
    done = run_program([program("sleep 60", shell=True)], cwd=tmp_path, env=ENV, deadline=0.3)
    assert time.monotonic() - started < 3
    assert done.ended == "deadline"
    assert not done.succeeded
    assert "did not end in time" in done.describe()


def test_a_program_that_ignores_sigterm_is_killed_after_the_grace(program, tmp_path):
    text = """
    import signal, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("deaf", flush=True)
    while True:
        time.sleep(1)
    """
    done = run_program([program(text)], cwd=tmp_path, env=ENV, deadline=0.5, grace=0.3)
    assert done.ended == "deadline"
    assert done.exit_status == 137
    assert done.tail == ("deaf",)
    assert 0.8 <= done.seconds < 4


def test_a_program_that_closes_its_stdout_and_goes_on_still_meets_its_deadline(program, tmp_path):
    text = """
    import os, time
    os.close(1); os.close(2)
    time.sleep(60)
    """
    done = run_program([program(text)], cwd=tmp_path, env=ENV, deadline=0.5, grace=0.3)
    assert done.ended == "deadline"


def test_what_the_program_left_running_in_its_group_is_killed(program, tmp_path):
    done = run_program([program("sleep 60 & echo $!", shell=True)], cwd=tmp_path, env=ENV)
    assert done.succeeded
    assert done.seconds < 5
    assert gone_within(int(done.tail[0]), 3)


def test_children_that_ignore_sigterm_do_not_survive_the_deadline(program, tmp_path):
    text = "(trap '' TERM; sleep 60; sleep 60) & echo $!; sleep 60"
    done = run_program([program(text, shell=True)], cwd=tmp_path, env=ENV, deadline=0.3, grace=0.3)
    assert done.ended == "deadline"
    assert gone_within(int(done.tail[0]), 3)


def test_a_request_to_cancel_ends_it(program, tmp_path):
    cancel = threading.Event()
    threading.Timer(0.2, cancel.set).start()
    done = run_program([program("sleep 60", shell=True)], cwd=tmp_path, env=ENV, cancel=cancel)
    assert done.ended == "cancelled"
    assert done.exit_status == 143
    assert done.seconds < 3


def test_what_a_listener_raises_ends_the_program_and_is_passed_on(program, tmp_path):
    pids = []

    def listen(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_program([program("echo $$; sleep 60", shell=True)], cwd=tmp_path, env=ENV, on_line=listen)
    assert gone_within(pids[0], 3)


def test_a_flood_of_output_is_capped_in_the_log_but_its_end_is_kept(program, tmp_path):
    text = """
    import sys
    for number in range(200_000):
        sys.stdout.write("line %d of a very long story\\n" % number)
    """
    log = tmp_path / "flood.log"
    done = run_program([program(text)], cwd=tmp_path, env=ENV, log=log, log_limit=10_000)
    assert done.succeeded
    assert done.tail[-1] == "line 199999 of a very long story"
    assert log.stat().st_size < 30_000
    written = log.read_text()
    assert "bytes left out; the last lines follow" in written
    assert written.endswith("line 199999 of a very long story\n")


def test_an_endless_line_is_cut(program, tmp_path):
    text = "import sys; sys.stdout.write('x' * 3_000_000 + '\\nend\\n')"
    done = run_program([program(text)], cwd=tmp_path, env=ENV)
    assert [len(line) for line in done.tail] == [LINE_LIMIT, 3]


def test_escapes_and_binary_do_not_reach_lines_or_log(program, tmp_path):
    text = r"""
    import os
    os.write(1, b"\x1b[31mred\x1b[0m \x1b]0;title\x07[/bad] \x00\x9b\xff ok\r\n\xe2\x80\xae evil\n")
    """
    done = run_program([program(text)], cwd=tmp_path, env=ENV, log=tmp_path / "x.log")
    assert done.tail[0].startswith("red [/bad] ")
    assert done.tail[0].endswith(" ok")
    assert "\x1b" not in "".join(done.tail)
    assert (tmp_path / "x.log").read_bytes().isascii() or "\x1b" not in (tmp_path / "x.log").read_text()
    assert all(line.isprintable() for line in done.tail)


@given(st.text())
def test_cleaned_text_is_printable_and_cleaning_twice_changes_nothing(text):
    once = clean_text(text)
    assert once.isprintable()
    assert clean_text(once) == once


@given(st.text(st.characters(categories=("L", "N", "P"))))
def test_printable_text_is_left_as_it_is(text):
    assert clean_text(text) == text


def test_a_limit_on_file_size_holds(program, tmp_path):
    text = "open('big', 'wb').write(b'x' * 1_000_000)"
    done = run_program([program(text)], cwd=tmp_path, env=ENV, limits=Limits(file_size=10_000))
    assert not done.succeeded
    assert (tmp_path / "big").stat().st_size <= 10_000


def test_the_log_is_locked_as_long_as_anything_of_the_program_lives(program, tmp_path):
    log = tmp_path / "x.log"
    seen = []

    def listen(line: str) -> None:
        with log.open("rb") as other:
            try:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                seen.append("locked")

    run_program([program("echo x", shell=True)], cwd=tmp_path, env=ENV, log=log, on_line=listen)
    assert seen == ["locked"]
    with log.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux")
def test_the_program_dies_with_a_parent_that_is_killed(tmp_path):
    driver = f"""
    import sys
    from pathlib import Path
    from acsrecipe.process import run_program
    run_program(["/bin/sh", "-c", "echo $$ > pid.new; mv pid.new pid; exec sleep 60"],
                cwd=Path({str(tmp_path)!r}), env={{"PATH": "/usr/bin:/bin"}}, log=Path({str(tmp_path / "x.log")!r}))
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(driver)])
    try:
        until = time.monotonic() + 20
        while not (tmp_path / "pid").exists() and time.monotonic() < until:
            time.sleep(0.02)
        pid = int((tmp_path / "pid").read_text())
        assert is_alive(pid)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert gone_within(pid, 3)
    with (tmp_path / "x.log").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_many_programs_at_once_from_threads_do_not_mix_their_output(tmp_path):
    results: dict[int, tuple[str, ...]] = {}

    def work(number: int) -> None:
        done = run_program(["/bin/sh", "-c", f"for i in 1 2 3; do echo {number}; done"], cwd=tmp_path, env=ENV)
        results[number] = done.tail

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert results == {number: (str(number),) * 3 for number in range(8)}
