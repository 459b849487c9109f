"""A worker takes the next task while it still hashes what the last one made."""

from __future__ import annotations

import queue

import pytest

from acsrecipe.plan.model import Output, Task
from acsrecipe.run.pool import WORKER_DIED, Done, LocalPool, Message, Worked
from acsrecipe.run.work import Job


@pytest.fixture
def messages():
    return queue.Queue[Message]()


@pytest.fixture
def pool(tmp_path, messages):
    made = LocalPool(1, environment={"PATH": "/usr/bin:/bin"}, log=tmp_path / "workers.log", messages=messages)
    yield made
    made.stop()


def submit(pool, folder, name, size=1000):
    """A task that takes what is in its folder as it is: all its time goes into hashing."""
    attempt = folder / name
    attempt.mkdir()
    with (attempt / "x.dat").open("wb") as file:
        file.truncate(size)
    task = Task(id=f"take/{name}", kind="take", exposures=(), outputs=(Output(name="x.dat", folder="", size=size),))
    pool.submit(task.id, Job(task=task, folder=attempt, base=folder))


def hear(messages, count):
    """Every message up to that many ends of tasks."""
    heard = []
    while sum(isinstance(one, Done) for one in heard) < count:
        heard.append(messages.get(timeout=30))
    return heard


def test_a_task_is_worked_before_it_is_done_and_the_next_one_does_not_wait_for_its_hashes(pool, messages, tmp_path):
    submit(pool, tmp_path, "large", 1 << 30)
    submit(pool, tmp_path, "small")
    heard = [(type(one), one.task) for one in hear(messages, 2)]
    assert heard.index((Worked, "take/large")) < heard.index((Worked, "take/small")) < heard.index((Done, "take/large"))
    assert heard[-1] == (Done, "take/small")
    pool.close()


def test_a_worker_that_ends_ends_all_that_it_was_given_and_another_goes_on(pool, messages, tmp_path):
    submit(pool, tmp_path, "large", 4 << 30)
    while not isinstance(messages.get(timeout=30), Worked):
        pass
    submit(pool, tmp_path, "second", 4 << 30)
    while not isinstance(messages.get(timeout=30), Worked):
        pass
    pool.end("take/large")
    ends = [one for one in hear(messages, 2) if isinstance(one, Done)]
    assert [one.task for one in ends] == ["take/large", "take/second"]
    assert {one.error.code for one in ends} == {WORKER_DIED}
    submit(pool, tmp_path, "third")
    (last,) = (one for one in hear(messages, 1) if isinstance(one, Done))
    assert last.error is None
    pool.close()
