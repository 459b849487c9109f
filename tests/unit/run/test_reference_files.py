"""References are hashed while the engine works, and waited for where it is the faster one."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from acsrecipe.errors import IntegrityError
from acsrecipe.files import sha256_file
from acsrecipe.plan.model import PlannedReference
from acsrecipe.run import reference_files
from acsrecipe.run.reference_files import stage_references


def make_references(folder, count=4):
    made = []
    for number in range(count):
        path = folder / f"r{number}.fits"
        path.write_bytes(bytes([number]) * 5000)
        made.append(
            PlannedReference(
                keyword=f"KEY{number}", name=path.name, path=path.name, size=5000, sha256=sha256_file(path)
            )
        )
    return made


@pytest.fixture
def slow_hashing(monkeypatch):
    hashing = reference_files._hash

    def slow(*args):
        time.sleep(0.05)
        return hashing(*args)

    monkeypatch.setattr(reference_files, "_hash", slow)


@pytest.fixture
def behind():
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_hashes_are_waited_for_where_the_engine_is_done_first(tmp_path, slow_hashing, behind):
    references = make_references(tmp_path)
    attempt = tmp_path / "attempt"
    attempt.mkdir()
    with stage_references(references, tmp_path, attempt, {}, behind) as staged:
        pass
    assert [one["sha256"] for one in staged.verified()] == [one.sha256 for one in references]


def test_a_reference_that_is_not_what_the_plan_saw_is_found_although_the_engine_is_done_first(
    tmp_path, slow_hashing, behind
):
    references = make_references(tmp_path)
    (tmp_path / "r3.fits").write_bytes(b"x" * 5000)
    attempt = tmp_path / "attempt"
    attempt.mkdir()
    with stage_references(references, tmp_path, attempt, {}, behind) as staged:
        pass
    with pytest.raises(IntegrityError, match="KEY3"):
        staged.verified()


def test_nobody_waits_for_hashes_of_a_task_that_is_interrupted(tmp_path, slow_hashing, behind):
    references = make_references(tmp_path, count=60)
    attempt = tmp_path / "attempt"
    attempt.mkdir()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), stage_references(references, tmp_path, attempt, {}, behind):
        raise KeyboardInterrupt
    assert time.monotonic() - began < 2.0
