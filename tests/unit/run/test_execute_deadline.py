"""Whose worker is ended when a task does not keep its deadline."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from acsrecipe.run.execute import _Run


def test_a_task_that_is_only_being_hashed_never_ends_its_worker_for_that_is_at_another() -> None:
    ended: list[str] = []
    pool = SimpleNamespace(end=ended.append)
    run = SimpleNamespace(
        options=SimpleNamespace(deadline=10.0, late=5.0),
        running={"calibrate/a": pool, "calibrate/b": pool, "calibrate/c": pool},
        started={"calibrate/a": -1e9, "calibrate/b": -1e9, "calibrate/c": 1e9},
        worked={"calibrate/a"},
        overdue=set(),
    )
    for _ in range(2):
        _Run._end_overdue(cast("Any", run))
    assert ended == ["calibrate/b"]
    assert run.overdue == {"calibrate/b"}
