"""The log finds every edit, drops a torn last line, and folds to the last finished attempt."""

from __future__ import annotations

import itertools
import json
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acsrecipe.errors import IntegrityError, OutputError
from acsrecipe.run.journal import GENESIS, Journal, fold, read_journal, seal


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
    journal.close()
    state = fold(read_journal(journal.path))
    assert state == journal.state.finished
    assert {task: done.fingerprint for task, done in state.items()} == {"a": "2"}


def test_every_line_is_one_json_object(tmp_path):
    path = tmp_path / "log.jsonl"
    for line in write(path).decode().splitlines():
        assert isinstance(json.loads(line), dict)


def test_a_hundred_thousand_events_are_folded_in_less_than_five_seconds(tmp_path):
    path = tmp_path / "log.jsonl"
    previous = GENESIS
    digest = "0123456789abcdef" * 4
    files = [{"name": f"j9l960a7q_{suffix}.fits", "size": 168_000_000, "sha256": digest} for suffix in ("raw", "spt")]
    with path.open("wb") as out:
        for number in range(100_000):
            event = {
                "seq": number,
                "previous": previous,
                "time": "2026-01-01T00:00:00.000Z",
                "event": ("task-started", "task-publishing", "task-finished")[number % 3],
                "task": f"calibrate/{number // 3:09d}",
                "fingerprint": digest,
                "inputs": files,
                "references": [{"keyword": f"REF{n}", "name": "x_drk.fits", "sha256": digest} for n in range(8)],
                "outputs": [{**files[0], "path": f"products/{number // 3:09d}_flt.fits"}],
            }
            line, previous = seal(event)
            out.write(line + b"\n")
    began = time.process_time()
    journal = Journal(path)
    spent = time.process_time() - began
    journal.close()
    assert len(journal.state.finished) == 33_333
    assert spent < 5, f"{spent:.1f} s of processor time for {path.stat().st_size / 1e6:.0f} MB"


def test_a_write_that_fails_leaves_the_log_as_it_was_and_the_next_event_follows(tmp_path, monkeypatch):
    path = tmp_path / "log.jsonl"
    journal = Journal(path, clock=clock)
    journal.append("first")
    before = path.read_bytes()
    write_, sync = os.write, os.fsync
    monkeypatch.setattr(os, "write", lambda descriptor, data: write_(descriptor, data[:10]))
    with pytest.raises(OutputError, match="only 10 of"):
        journal.append("second")
    assert path.read_bytes() == before
    monkeypatch.setattr(os, "write", write_)

    def fail(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", sync)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError, match="Input/output error"):
        journal.append("second")
    assert path.read_bytes() == before
    journal.append("second")
    journal.close()
    assert [event["event"] for event in read_journal(path)] == ["first", "second"]


def test_after_a_line_that_can_not_be_taken_back_nothing_more_is_written(tmp_path, monkeypatch):
    path = tmp_path / "log.jsonl"
    journal = Journal(path, clock=clock)
    journal.append("first")

    def fail(*args: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fail)
        broken.setattr(os, "ftruncate", fail)
        with pytest.raises(OutputError):
            journal.append("second")
    with pytest.raises(OutputError, match="earlier event"):
        journal.append("third")
    journal.close()
    assert [event["event"] for event in read_journal(path)] == ["first", "second"]


def test_order_is_that_of_the_numbers_whatever_the_clock_does(tmp_path):
    times = iter(
        ["2026-10-25T02:59:59.000Z", "2026-10-25T02:00:00.000Z", "1970-01-01T00:00:00.000Z", "2026-10-25T02:00:00.000Z"]
    )
    journal = Journal(tmp_path / "log.jsonl", clock=lambda: next(times))
    for number in range(4):
        journal.append("task-finished", task="a", fingerprint=str(number), outputs=[])
    journal.close()
    assert fold(read_journal(journal.path))["a"].fingerprint == "3"
