"""Which task may start next: an order, not a decision on what is done."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence

from acsrecipe.plan.downloads import FETCH
from acsrecipe.plan.model import Task


class Schedule:
    """Tasks that have to be looked at, given out as those they follow finish.

    What follows a finished task comes before what is new: so an exposure goes all its way before the next
    one starts, and the files between its tasks don't pile up.

    Parameters
    ----------
    tasks : sequence of Task
        In the plan's order.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = {task.id: task for task in tasks}
        self._number = {task.id: number for number, task in enumerate(tasks)}
        self._unmet = {task.id: {name for name in task.after if name in self._tasks} for task in tasks}
        self._followers: dict[str, list[str]] = {}
        for task in tasks:
            for name in task.after:
                self._followers.setdefault(name, []).append(task.id)
        self._ready: dict[bool, list[tuple[int, int, str]]] = {True: [], False: []}
        self._left = set(self._tasks)
        for task in tasks:
            if not self._unmet[task.id]:
                self._push(task.id)

    def __len__(self) -> int:
        """How many tasks have neither finished nor been given up."""
        return len(self._left)

    def next(self, *, fetching: bool = False) -> Task | None:
        """Give a task that may start now (one that fetches, or one that does not), or None."""
        ready = self._ready[fetching]
        while ready:
            name = heapq.heappop(ready)[2]
            if name in self._left:
                return self._tasks[name]
        return None

    def finish(self, name: str) -> None:
        """Take note that a task is done: those that follow it may be ready."""
        self._left.discard(name)
        for follower in self._followers.get(name, ()):
            self._unmet[follower].discard(name)
            if not self._unmet[follower] and follower in self._left:
                self._push(follower)

    def put_back(self, name: str) -> None:
        """Give a task out again, later."""
        self._push(name)

    def give_up(self, name: str) -> tuple[Task, ...]:
        """Take note that a task failed; give those that therefore can't start, in the plan's order."""
        self._left.discard(name)
        lost, queue = set[str](), [name]
        while queue:
            for follower in self._followers.get(queue.pop(), ()):
                if follower in self._left:
                    self._left.discard(follower)
                    lost.add(follower)
                    queue.append(follower)
        return tuple(self._tasks[one] for one in sorted(lost, key=self._number.__getitem__))

    def give_up_all(self) -> tuple[Task, ...]:
        """Give up what has not been given out; tasks that were are not in the answer."""
        ready = [name for lane in self._ready.values() for _, _, name in lane if name in self._left]
        blocked = [name for name in self._left if self._unmet[name]]
        lost = {*ready, *blocked}
        for lane in self._ready.values():
            lane.clear()
        self._left -= lost
        return tuple(self._tasks[one] for one in sorted(lost, key=self._number.__getitem__))

    def _push(self, name: str) -> None:
        task = self._tasks[name]
        first = 0 if any(not earlier.startswith(f"{FETCH}/") for earlier in task.after) else 1
        heapq.heappush(self._ready[task.kind == FETCH], (first, self._number[name], name))


def find_makers(tasks: Sequence[Task]) -> dict[str, dict[str, str]]:
    """Say for each task which earlier one makes, or fetches, each file that it reads: the nearest that it follows.

    Returns
    -------
    dict
        Task id to file name to task id.
    """
    by_id = {task.id: task for task in tasks}
    return {task.id: {name: maker for name in _reads(task) if (maker := _maker(name, task, by_id))} for task in tasks}


def _reads(task: Task) -> list[str]:
    fetched = [file.path.rsplit("/", 1)[-1] for file in task.inputs if file.source and task.kind != FETCH]
    return [*task.parameters.get("files", ()), *fetched]


def _maker(name: str, task: Task, by_id: Mapping[str, Task]) -> str:
    seen, row = set[str](), list(task.after)
    while row:
        for one in row:
            if any(output.name == name for output in by_id[one].outputs):
                return one
        seen.update(row)
        row = [earlier for one in row for earlier in by_id[one].after if earlier not in seen]
    return ""


def find_users(tasks: Sequence[Task], makers: Mapping[str, Mapping[str, str]]) -> dict[str, Collection[str]]:
    """Say of each task who reads what it makes without publishing it."""
    users: dict[str, set[str]] = {}
    hidden = {task.id: {output.name for output in task.outputs if not output.folder} for task in tasks}
    for reader, files in makers.items():
        for name, maker in files.items():
            if name in hidden[maker]:
                users.setdefault(maker, set()).add(reader)
    return dict(users)
