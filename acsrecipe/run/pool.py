"""Worker processes that do tasks, and how the executor talks to them.

A worker is a fresh Python (``python -m acsrecipe.run.worker``), not a fork and not ``multiprocessing``:
so a script that calls ``run_plan`` needs no main guard, libraries can't spoil the conversation by printing,
and a worker that hangs or dies takes nothing with it but its task.
"""

from __future__ import annotations

import pickle
import queue
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from acsrecipe.errors import AcsRecipeError, EngineError

HEADER = struct.Struct("<Q")

PATIENCE = 3.0
"""Seconds that a worker gets to end by itself before it is killed."""

WORKER_DIED = "E090"
"""Code of the error of a task whose worker process ended under it."""

START = (
    "import gc, sys; gc.disable(); sys.path.append(sys.argv[1]); "
    "from acsrecipe.run.worker import main; sys.exit(main())"
)
"""What a worker's Python does; it runs isolated (``-I``), so neither variables nor the folder where the user
stands can slip a module in, and our own package's folder comes last. Imports leave nothing for the collector of
cycles: ``main`` turns it on when they are done."""

LEAN = {"PYDANTIC_DISABLE_PLUGINS": "__all__", "OPENBLAS_NUM_THREADS": "1"}
"""Without the first pydantic looks through all that is installed, for plugins that our models don't need; without the
second numpy starts a thread for each processor, which wait for linear algebra that is never asked for."""


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


@dataclass(frozen=True)
class Worked:
    """A task needs its worker no more: only its outputs are still being hashed. Its :class:`Done` follows."""

    task: str


Message = Report | Worked | Done


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


class Pool(Protocol):
    """Where tasks are done: some workers, and a queue that the executor gave it for their messages."""

    @property
    def size(self) -> int:
        """How many tasks run at once."""

    def submit(self, task: str, job: Any) -> None:
        """Queue a job; its :class:`Report` and :class:`Done` messages come in the queue. Never raises."""

    def end(self, task: str) -> None:
        """End the worker of one running task; its :class:`Done` comes, with an error."""

    def stop(self) -> None:
        """End every worker at once, with whatever it runs."""

    def close(self) -> None:
        """Let idle workers end."""


class LocalPool:
    """A fixed number of worker processes on this machine, started when first needed.

    Parameters
    ----------
    size : int
        How many tasks run at once.
    environment : mapping
        The workers' environment, but for :data:`LEAN`; nothing is inherited.
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
        self._environment = {**environment, **LEAN}
        self._log = log
        self._jobs: queue.Queue[tuple[str, Any] | None] = queue.Queue()
        self._workers: dict[int, _Conversation] = {}
        self._threads: list[threading.Thread] = []
        self._stopped = False

    def submit(self, task: str, job: Any) -> None:
        """Queue a job; its :class:`Report` and :class:`Done` messages come in ``messages``."""
        self._jobs.put((task, job))
        if len(self._threads) < self.size:
            thread = threading.Thread(target=self._serve, args=(len(self._threads),), daemon=True)
            self._threads.append(thread)
            thread.start()

    def end(self, task: str) -> None:
        """End the worker of one running task at once; its :class:`Done` comes, with an error."""
        for worker in list(self._workers.values()):
            if worker.does(task):
                with suppress(ProcessLookupError):
                    worker.process.kill()

    def stop(self) -> None:
        """End every worker at once, with whatever it runs."""
        self._stopped = True
        _end([worker.process for worker in list(self._workers.values())])

    def close(self) -> None:
        """Let the workers end after what they do."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(timeout=10)
        _end([worker.process for worker in list(self._workers.values())])

    def _serve(self, number: int) -> None:
        while (item := self._jobs.get()) is not None and not self._stopped:
            task, job = item
            try:
                while (worker := self._workers.get(number)) is None or not worker.give(task, job):
                    self._workers[number] = _Conversation(self._start(), self.messages, self._log)
                worker.free.wait()
            except Exception as error:  # Whatever it is, the executor must hear of it, or it waits for ever.
                msg = f"no worker process could be started or told what to do: {type(error).__name__}: {error}"
                self.messages.put(Done(task, error=EngineError(msg, where=task, code="E091")))
        worker = self._workers.pop(number, None)
        if worker is not None:
            _end([worker.process])

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603  a list, no shell
                [sys.executable, "-I", "-c", START, str(Path(__file__).resolve().parents[2])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )


class _Conversation:
    """Gives tasks to one worker process, and passes on what it says of them, in a thread of its own.

    Attributes
    ----------
    process : Popen
    free : Event
        Set while it can be given a task: it works at none, be it still hashing what the last one made.
    """

    def __init__(self, process: subprocess.Popen[bytes], messages: queue.Queue[Message], log: Path) -> None:
        self.process = process
        self.free = threading.Event()
        self._messages = messages
        self._log = log
        self._latest = ""
        self._tasks: list[str] = []
        self._over = False
        self._turn = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    def does(self, task: str) -> bool:
        """Whether this task was given to it, and has not ended."""
        return task in self._tasks

    def give(self, task: str, job: Any) -> bool:
        """Give it a task; False where it has ended, so that another has to do it."""
        with self._turn:
            if self._over or self.process.poll() is not None:
                return False
            self._tasks.append(task)
            self._latest = task
            self.free.clear()
        with suppress(OSError):  # Where it ends now, the listener says so.
            send(_pipe(self.process.stdin), (task, job))
        return True

    def _listen(self) -> None:
        try:
            while True:
                message = receive(_pipe(self.process.stdout))
                if isinstance(message, Done):
                    with self._turn:
                        self._tasks.remove(message.task)
                self._messages.put(message)
                if not isinstance(message, Report) and message.task == self._latest:
                    self.free.set()
        except (EOFError, OSError):
            pass
        except Exception:  # It speaks nonsense, whatever that is.
            self.process.kill()
        with self._turn:
            self._over = True
            left = tuple(self._tasks)
        for task in left:
            self._messages.put(Done(task, error=self._died(task)))
        self._tasks.clear()
        self.free.set()

    def _died(self, task: str) -> AcsRecipeError:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=5)
        status = self.process.returncode
        how = f"signal {signal.Signals(-status).name}" if status is not None and status < 0 else f"exit status {status}"
        return EngineError(
            f"the worker process ended with {how} while it did this task",
            where=task,
            hint=f"SIGKILL often means that memory ran out: try fewer jobs with -j; its log is {self._log}",
            code=WORKER_DIED,
        )


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:  # pragma: no cover - Popen was asked for both
        msg = "a worker without pipes"
        raise RuntimeError(msg)
    return stream


def _end(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    """End workers, all at the same time; their engines die with them (they asked the kernel for that)."""
    for worker in workers:
        with suppress(OSError):
            if worker.stdin is not None:
                worker.stdin.close()
        with suppress(ProcessLookupError):
            worker.terminate()
    until = time.monotonic() + PATIENCE
    for worker in workers:
        try:
            worker.wait(timeout=max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
