"""The log finds every edit, drops a torn last line, and folds to the last finished attempt."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acsrecipe.errors import IntegrityError
from acsrecipe.run.journal import Journal, fold, read_journal


def clock() -> str:
    return "2026-01-01T00:00:00.000Z"


def write(path, count=5):
    journal = Journal(path, clock=clock)
    for number in range(count):
        journal.append("task-finished", task=f"t{number}", fingerprint="f", outputs=[{"name": f"ü{number}"}])
    journal.close()
    return path.read_bytes()


def test_events_come_back_in_order_with_a_chain(tmp_path):
    path = tmp_path / "log.jsonl"
    write(path)
    events = read_journal(path)
    assert [event["seq"] for event in events] == list(range(5))
    assert all(after["previous"] == before["hash"] for before, after in itertools.pairwise(events))


def test_a_log_is_continued_where_it_ended(tmp_path):
    path = tmp_path / "log.jsonl"
    write(path, 2)
    journal = Journal(path, clock=clock)
    journal.append("run-finished")
    journal.close()
    assert [event["event"] for event in read_journal(path)] == ["task-finished", "task-finished", "run-finished"]


@given(data=st.data())
def test_any_flipped_byte_is_found_and_named(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("j") / "log.jsonl"
    content = bytearray(write(path, 3))
    # The very last line may be torn by a crash and is then dropped; every other byte counts.
    end = content.rstrip(b"\n").rfind(b"\n")
    at = data.draw(st.integers(0, end - 1))
    content[at] ^= data.draw(st.integers(1, 127))
    path.write_bytes(bytes(content))
    with pytest.raises(IntegrityError) as caught:
        read_journal(path)
    assert caught.value.exit_code == 8
    assert "byte" in caught.value.message


@given(cut=st.integers(1, 10_000))
def test_a_torn_last_line_is_dropped_and_the_log_goes_on(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("j") / "log.jsonl"
    content = write(path, 3)
    last = content.rstrip(b"\n").rfind(b"\n") + 1
    torn = content[: last + cut % (len(content) - last)]
    path.write_bytes(torn)
    assert len(read_journal(path)) == 2
    journal = Journal(path, clock=clock)
    journal.append("run-finished")
    journal.close()
    assert [event["seq"] for event in read_journal(path)] == [0, 1, 2]


def test_a_removed_or_moved_line_is_found(tmp_path):
    path = tmp_path / "log.jsonl"
    lines = write(path).splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:1] + lines[2:]))
    with pytest.raises(IntegrityError, match="does not follow"):
        read_journal(path)
    path.write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))
    with pytest.raises(IntegrityError, match="does not follow"):
        read_journal(path)


def test_folding_keeps_the_last_finished_attempt_of_each_task(tmp_path):
    journal = Journal(tmp_path / "log.jsonl", clock=clock)
    journal.append("task-finished", task="a", fingerprint="1", outputs=[])
    journal.append("task-failed", task="b")
    journal.append("task-finished", task="a", fingerprint="2", outputs=[])
    state = fold(journal.events)
    assert {task: done.fingerprint for task, done in state.items()} == {"a": "2"}


def test_every_line_is_one_json_object(tmp_path):
    path = tmp_path / "log.jsonl"
    for line in write(path).decode().splitlines():
        assert isinstance(json.loads(line), dict)
