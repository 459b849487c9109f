"""Run one external program under control: its environment, limits, log, process group, deadline and end.

Knows nothing of what the program does.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

LOG_LIMIT = 8 * 1024 * 1024
"""Bytes of output that are kept in the log file, unless told otherwise."""

LINE_LIMIT = 4096
"""Characters of a line that are kept."""

TAIL_LINES = 200
GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""

_POLL = 0.05
_SOON = 0.001
_DRAIN = 1.0
_PR_SET_PDEATHSIG = 1
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])|\x9b[0-?]*[ -/]*[@-~]"
)


@dataclass(frozen=True)
class Limits:
    """What a program may use; None leaves the limit as it is.

    Attributes
    ----------
    memory : int or None
        Bytes of address space.
    file_size : int or None
        Bytes of any file it writes.
    open_files : int or None
    """

    memory: int | None = None
    file_size: int | None = None
    open_files: int | None = None


@dataclass(frozen=True)
class Finished:
    """How a program ended.

    Attributes
    ----------
    argv : tuple of str
    exit_status : int
        As a shell gives it: 128 + n where signal n ended the program.
    ended : str
        ``exited``, ``killed`` (by a signal that is not ours), ``deadline`` or ``cancelled``.
    seconds : float
    tail : tuple of str
        Its last lines, stdout and stderr as they came, cleaned of control characters.
    log : Path or None
        The file with all its output, up to the log's limit.
    """

    argv: tuple[str, ...]
    exit_status: int
    ended: Literal["exited", "killed", "deadline", "cancelled"]
    seconds: float
    tail: tuple[str, ...] = ()
    log: Path | None = None

    @property
    def succeeded(self) -> bool:
        """Whether it ended by itself with status 0."""
        return self.ended == "exited" and self.exit_status == 0

    def describe(self) -> str:
        """Say how it ended, in words that complete "the program ...".

        Examples
        --------
        >>> Finished(("x",), 139, "killed", 1.0).describe()
        'was killed by SIGSEGV (exit status 139)'
        """
        if self.ended == "killed":
            return f"was killed by {_signal_name(self.exit_status - 128)} (exit status {self.exit_status})"
        if self.ended == "deadline":
            return f"did not end in time and was stopped after {self.seconds:.0f} s"
        if self.ended == "cancelled":
            return f"was stopped on request after {self.seconds:.0f} s"
        return f"ended with exit status {self.exit_status}"


def clean_text(text: str) -> str:
    r"""Strip terminal escapes and all that is not printable, so that a line can be shown anywhere.

    Examples
    --------
    >>> clean_text("\x1b[31mred\x1b[0m\tand\x07 \x9b1mbold")
    'red and bold'
    """
    if text.isprintable():
        return text
    text = _ESCAPES.sub("", text).replace("\t", " ")
    return text if text.isprintable() else "".join(letter for letter in text if letter.isprintable())


def die_with_parent() -> None:
    """Have this process killed when the thread that started it dies (Linux; nothing elsewhere)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def run_program(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    log: Path | None = None,
    deadline: float | None = None,
    grace: float = GRACE,
    on_line: Callable[[str], None] | None = None,
    cancel: threading.Event | None = None,
    limits: Limits = Limits(),
    log_limit: int = LOG_LIMIT,
) -> Finished:
    """Run a program to its end and say how it ended.

    It runs without a shell, in a session and process group of its own, with nothing on its stdin and
    exactly the environment given. On Linux it is killed when the calling thread or process dies. What is
    left of its group when it ends is killed. Its log file stays locked (``flock``) as long as the program
    or anything it started lives: who can lock the log knows that nobody works in that folder any more.

    Parameters
    ----------
    argv : sequence of str
        ``argv[0]`` should be an absolute path.
    cwd : Path
    env : mapping
        The whole environment.
    log : Path, optional
        Gets its output, cleaned, cut after `log_limit` bytes but for the last lines.
    deadline : float, optional
        Seconds that it may take; then SIGTERM, and `grace` seconds later SIGKILL, to its group.
    on_line : callable, optional
        Called with each line of output as it comes. What it raises ends the program and is passed on.
    cancel : threading.Event, optional
        Ends the program as a deadline does.
    limits : Limits, optional

    Raises
    ------
    OSError
        The program can't be started, or the log can't be written.
    """
    started = time.monotonic()
    output = _Output(on_line)
    ended: Literal["exited", "deadline", "cancelled"] = "exited"
    with _open_log(log) as file:
        output.attach(file, log_limit)
        with _started(argv, cwd, env, limits, file) as process:
            kill_at = float("inf")
            while not _has_ended(process):
                now = time.monotonic()
                if ended == "exited" and _is_set(cancel):
                    ended = "cancelled"
                elif ended == "exited" and deadline is not None and now - started >= deadline:
                    ended = "deadline"
                if ended != "exited" and kill_at == float("inf"):
                    _signal_group(process, signal.SIGTERM)
                    kill_at = now + grace
                if now >= kill_at:
                    _signal_group(process, signal.SIGKILL)
                output.read(process, _POLL)
            _signal_group(process, signal.SIGKILL)
            output.drain(process, _DRAIN)
            status = process.wait()
        output.close()
    return Finished(
        argv=tuple(argv),
        exit_status=status if status >= 0 else 128 - status,
        ended="killed" if status < 0 and ended == "exited" else ended,
        seconds=time.monotonic() - started,
        tail=tuple(output.tail),
        log=log,
    )


@dataclass
class _Output:
    """What a program writes: cut into lines, cleaned, counted, logged and passed on."""

    on_line: Callable[[str], None] | None
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))
    _file: BinaryIO | None = None
    _room: int = 0
    _left_out: int = 0
    _rest: bytes = b""
    _skipping: bool = False
    _open: bool = True
    _wait: float = _SOON / 2

    def attach(self, file: BinaryIO | None, limit: int) -> None:
        self._file, self._room = file, limit

    def read(self, process: subprocess.Popen[bytes], timeout: float) -> bool:
        """Take what has come, or wait for it; False where there was nothing."""
        if not self._open:  # It closed its stdout: most often it ends at once, but it may go on working.
            self._wait = min(2 * self._wait, timeout)
            time.sleep(self._wait)
            return False
        assert process.stdout is not None  # noqa: S101 (for the type checker: it is a pipe)
        descriptor = process.stdout.fileno()
        if not _is_readable(descriptor, timeout):
            return False
        chunk = os.read(descriptor, 65536)
        self._open = bool(chunk)
        self._take(chunk)
        return bool(chunk)

    def drain(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        """Take what is still in the pipe; something that left the group may keep it open, so not for long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and self._open and self.read(process, 0.0):
            pass

    def close(self) -> None:
        if self._rest:
            self._line(self._rest)
        if self._file is not None and self._left_out:
            note = f"[... {self._left_out} bytes left out; the last lines follow ...]\n"
            self._file.write((note + "\n".join(self.tail) + "\n").encode())

    def _take(self, chunk: bytes) -> None:
        *lines, self._rest = (self._rest + chunk.replace(b"\r", b"\n")).split(b"\n")
        for line in lines:
            if not self._skipping:
                self._line(line)
            self._skipping = False
        if len(self._rest) > LINE_LIMIT:
            if not self._skipping:
                self._line(self._rest)
            self._rest, self._skipping = b"", True
        if self._file is not None:
            self._file.flush()

    def _line(self, line: bytes) -> None:
        text = clean_text(line[:LINE_LIMIT].decode("utf-8", "replace"))
        self.tail.append(text)
        if self._file is not None:
            data = text.encode() + b"\n"
            if len(data) <= self._room:
                self._room -= len(data)
                self._file.write(data)
            else:
                self._room = 0
                self._left_out += len(line) + 1
        if self.on_line is not None:
            self.on_line(text)


@contextmanager
def _open_log(log: Path | None) -> Iterator[BinaryIO | None]:
    if log is None:
        yield None
        return
    with log.open("wb") as file:
        with suppress(OSError):  # A file system without locks: the log is still a log.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield file


@contextmanager
def _started(
    argv: Sequence[str], cwd: Path, env: Mapping[str, str], limits: Limits, log: BinaryIO | None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program; whatever happens, leave nothing of its group alive."""
    # Between fork and exec only plain system calls happen, on what was prepared here: no import, no lock.
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
    pairs = _pairs(limits)
    parent = os.getpid()

    def prepare() -> None:
        for name, value in pairs:
            resource.setrlimit(name, (value, value))
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
            if os.getppid() != parent:  # It died before the line above.
                os.kill(os.getpid(), signal.SIGKILL)

    process = subprocess.Popen(  # noqa: S603 (a list, no shell)
        list(argv),
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
        start_new_session=True,
        preexec_fn=prepare,
        pass_fds=() if log is None else (log.fileno(),),
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            _signal_group(process, signal.SIGKILL)
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _pairs(limits: Limits) -> list[tuple[int, int]]:
    wanted = [
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_FSIZE, limits.file_size),
        (resource.RLIMIT_NOFILE, limits.open_files),
    ]
    pairs = []
    for name, value in wanted:
        if value is not None:
            hard = resource.getrlimit(name)[1]
            pairs.append((name, value if hard == resource.RLIM_INFINITY else min(value, hard)))
    return pairs


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Say whether it ended, without reaping it: so long nobody else can get its number."""
    if hasattr(os, "waitid"):
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    return process.poll() is not None


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _is_readable(descriptor: int, timeout: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLHUP)
    return bool(poll.poll(timeout * 1000))


def _is_set(event: threading.Event | None) -> bool:
    return event is not None and event.is_set()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
