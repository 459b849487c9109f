"""References are linked at once and hashed while the engine works; nothing is said done before they are right."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from acsrecipe.errors import EngineError, IntegrityError
from acsrecipe.plan.model import PlannedReference
from acsrecipe.run import reference_files
from acsrecipe.run.hashes import take_mark
from acsrecipe.run.reference_files import stage_references

DATA = b"dark" * 1000


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "attempt").mkdir()
    (tmp_path / "x_drk.fits").write_bytes(DATA)
    return tmp_path


def planned(**other: object) -> PlannedReference:
    fields = {"keyword": "DARKFILE", "name": "x_drk.fits", "path": "x_drk.fits", "size": len(DATA)}
    return PlannedReference(**{**fields, **other})


def stage(base: Path, *references: PlannedReference, known=None):
    return stage_references(references, base, base / "attempt", known or {})


def test_a_reference_is_read_through_a_link_under_its_bare_name(base):
    right = planned(sha1=hashlib.sha1(DATA).hexdigest(), sha256=hashlib.sha256(DATA).hexdigest())
    with stage(base, right) as staged:
        assert (base / "attempt" / "ref" / "x_drk.fits").read_bytes() == DATA
    (found,) = staged.verified()
    assert found["sha256"] == hashlib.sha256(DATA).hexdigest()
    assert (base / "x_drk.fits").read_bytes() == DATA


@pytest.mark.parametrize("kind", ["sha1", "sha256"])
def test_other_content_of_the_same_size_is_never_called_done(base, kind):
    wanted = hashlib.new(kind, b"another").hexdigest()
    with stage(base, planned(**{kind: wanted})) as staged:
        pass
    with pytest.raises(IntegrityError, match=f"DARKFILE changed since the plan was made: its {kind} is") as caught:
        staged.verified()
    assert wanted[:12] in caught.value.message


def test_another_size_is_refused_before_anything_runs(base):
    with (
        pytest.raises(IntegrityError, match="it has 4000 bytes, the plan saw 1"),
        stage(base, planned(size=1, sha1="a")),
    ):
        pytest.fail("nothing must run")


def test_a_wrong_reference_explains_what_the_engine_said(base):
    with pytest.raises(IntegrityError, match="DARKFILE"), stage(base, planned(sha1="a" * 40)):
        raise EngineError("calacs.e was killed by SIGSEGV")
    (base / "attempt" / "ref" / "x_drk.fits").unlink()
    (base / "attempt" / "ref").rmdir()
    with pytest.raises(EngineError, match="SIGSEGV"), stage(base, planned()):
        raise EngineError("calacs.e was killed by SIGSEGV")


def test_a_reference_that_is_written_to_while_it_is_in_use_is_noticed(base):
    with stage(base, planned()) as staged:
        (base / "x_drk.fits").write_bytes(b"DARK" * 1000)
    with pytest.raises(IntegrityError, match="while it was in use"):
        staged.verified()


def test_what_is_known_is_not_read_again_as_long_as_it_is_untouched(base, monkeypatch):
    monkeypatch.setattr(reference_files, "_hashed", {})
    path = base / "x_drk.fits"
    with stage(base, planned(), known={str(path): (take_mark(path), "f" * 64)}) as staged:
        pass
    assert staged.verified()[0]["sha256"] == "f" * 64
    path.write_bytes(DATA)
    (base / "attempt" / "ref" / "x_drk.fits").unlink()
    (base / "attempt" / "ref").rmdir()
    with stage(base, planned(), known={str(path): ([0, 0, 0, 0, 0], "f" * 64)}) as staged:
        pass
    assert staged.verified()[0]["sha256"] == hashlib.sha256(DATA).hexdigest()


def test_a_reference_that_is_gone_is_named(base):
    (base / "x_drk.fits").unlink()
    with pytest.raises(EngineError, match="no longer there"), stage(base, planned()):
        pytest.fail("nothing must run")
