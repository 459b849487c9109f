"""Worker processes that do tasks, and how the executor talks to them.

A worker is a fresh Python (``python -m acsrecipe.run.worker``), not a fork and not ``multiprocessing``:
so a script that calls ``run_plan`` needs no main guard, libraries can't spoil the conversation by printing,
and a worker that hangs or dies takes nothing with it but its task.
"""

from __future__ import annotations

import contextlib
import pickle
import queue
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from acsrecipe.errors import AcsRecipeError, EngineError

HEADER = struct.Struct("<Q")


@dataclass(frozen=True)
class Report:
    """A short line on how far a task is."""

    task: str
    text: str


@dataclass(frozen=True)
class Done:
    """The end of a task: its result, or the error that it ended with."""

    task: str
    result: Any = None
    error: BaseException | None = None


Message = Report | Done


def send(stream: IO[bytes], data: object) -> None:
    """Write one framed, pickled object."""
    body = pickle.dumps(data, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(HEADER.pack(len(body)) + body)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Read one framed object; raises EOFError where the other side is gone."""
    head = stream.read(HEADER.size)
    if len(head) < HEADER.size:
        raise EOFError
    (length,) = HEADER.unpack(head)
    body = stream.read(length)
    if len(body) < length:
        raise EOFError
    return pickle.loads(body)  # noqa: S301  both ends are ours


class LocalPool:
    """A fixed number of worker processes on this machine, started when first needed.

    Parameters
    ----------
    size : int
        How many tasks run at once.
    environment : mapping
        The workers' whole environment; nothing is inherited.
    log : Path
        Where the workers' own stderr goes.
    messages : Queue, optional
        Another pool's, to hear of both in one place.
    """

    def __init__(
        self,
        size: int,
        *,
        environment: Mapping[str, str],
        log: Path,
        messages: queue.Queue[Message] | None = None,
    ) -> None:
        self.size = size
        self.messages: queue.Queue[Message] = messages or queue.Queue()
        self._environment = dict(environment)
        self._log = log
        self._jobs: queue.Queue[tuple[str, Any] | None] = queue.Queue()
        self._workers: dict[int, subprocess.Popen[bytes]] = {}
        self._threads: list[threading.Thread] = []
        self._stopped = False

    def submit(self, task: str, job: Any) -> None:
        """Queue a job; its :class:`Report` and :class:`Done` messages come in ``messages``."""
        self._jobs.put((task, job))
        if len(self._threads) < self.size:
            thread = threading.Thread(target=self._serve, args=(len(self._threads),), daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """End every worker at once, with whatever it runs."""
        self._stopped = True
        for worker in list(self._workers.values()):
            _end(worker)

    def close(self) -> None:
        """Let the workers end after what they do."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(timeout=10)
        for worker in list(self._workers.values()):
            _end(worker)

    def _serve(self, number: int) -> None:
        while (item := self._jobs.get()) is not None and not self._stopped:
            task, job = item
            worker = self._workers.get(number)
            if worker is None or worker.poll() is not None:
                worker = self._workers[number] = self._start()
            self.messages.put(self._converse(worker, task, job))
        worker = self._workers.pop(number, None)
        if worker is not None:
            _end(worker)

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "acsrecipe.run.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )

    def _converse(self, worker: subprocess.Popen[bytes], task: str, job: Any) -> Done:
        if worker.stdin is None or worker.stdout is None:  # pragma: no cover - Popen was asked for both
            return Done(task, error=RuntimeError("a worker without pipes"))
        try:
            send(worker.stdin, (task, job))
            while True:
                message = receive(worker.stdout)
                if isinstance(message, Done):
                    return message
                self.messages.put(message)
        except (EOFError, OSError, pickle.UnpicklingError):
            return Done(task, error=self._died(worker, task))

    def _died(self, worker: subprocess.Popen[bytes], task: str) -> AcsRecipeError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(timeout=5)
        status = worker.returncode
        how = f"signal {signal.Signals(-status).name}" if status is not None and status < 0 else f"exit status {status}"
        return EngineError(
            f"the worker process ended with {how} while it did this task",
            where=task,
            hint=f"SIGKILL often means that memory ran out: try fewer jobs with -j; its log is {self._log}",
            code="E090",
        )


def _end(worker: subprocess.Popen[bytes]) -> None:
    """End a worker; its engine dies with it (it asked the kernel for that)."""
    with contextlib.suppress(OSError):
        if worker.stdin is not None:
            worker.stdin.close()
    with contextlib.suppress(ProcessLookupError):
        worker.terminate()
    try:
        worker.wait(timeout=3)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()
