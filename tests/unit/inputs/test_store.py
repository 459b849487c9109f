"""The store of downloads: content under its hash, never half, never somebody else's."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from acsrecipe.errors import ArchiveError, IntegrityError, OutputError
from acsrecipe.inputs.store import Kept, Store, default_folder

SERVER = "https://mast.stsci.edu"
NAME = "j9l960a7q_raw.fits"


def put(store: Store, content: bytes, name: str = NAME, server: str = SERVER) -> Kept:
    part = store.partial(server, name)
    part.write_bytes(content)
    kept = Kept(name, f"{server}/x", len(content), hashlib.sha256(content).hexdigest(), '"v1"', "2026-01-01T00:00:00Z")
    store.publish(part, server, kept)
    return kept


def test_what_is_published_is_found_read_only_and_by_content(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    kept = put(store, b"content")
    path = store.path(kept.sha256)
    assert store.find(SERVER, NAME) == kept
    assert path.read_bytes() == b"content"
    assert path.stat().st_mode & 0o222 == 0
    assert store.names(SERVER) == (NAME,)
    assert list((tmp_path / "store" / "partial").rglob("*.fits")) == []


def test_equal_content_of_two_names_is_one_file(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first, second = put(store, b"same"), put(store, b"same", "j9l960a9q_raw.fits")
    assert first.sha256 == second.sha256
    assert len([path for path in (tmp_path / "objects").rglob("*") if path.is_file()]) == 1


def test_servers_do_not_answer_for_each_other(tmp_path: Path) -> None:
    store = Store(tmp_path)
    put(store, b"a")
    assert store.find("https://other.example", NAME) is None
    assert store.find("https://mast.stsci.edu/search/anything?x=y", NAME) is not None


def test_a_new_version_takes_the_name_and_the_old_stays_by_its_hash(tmp_path: Path) -> None:
    store = Store(tmp_path)
    old, new = put(store, b"old"), put(store, b"new")
    assert store.find(SERVER, NAME) == new
    assert store.path(old.sha256).read_bytes() == b"old"


@pytest.mark.parametrize("entry", [b"", b"{]", b"[]", b"null", b'{"name": 3}', b"\xff", b'{"name": "x", "more": 1}'])
def test_an_entry_that_makes_no_sense_is_none(entry: bytes, tmp_path: Path) -> None:
    store = Store(tmp_path)
    put(store, b"a")
    (path,) = (tmp_path / "index").rglob("*.json")
    path.write_bytes(entry)
    assert store.find(SERVER, NAME) is None


def test_an_entry_can_not_point_outside(tmp_path: Path) -> None:
    store = Store(tmp_path)
    kept = put(store, b"a")
    (path,) = (tmp_path / "index").rglob("*.json")
    path.write_text(json.dumps({**vars(kept), "sha256": "../../../etc/passwd"}))
    assert store.find(SERVER, NAME) is None
    with pytest.raises(ValueError, match="not a sha256"):
        store.path("../x")


def test_content_that_is_cut_or_gone_is_not_found(tmp_path: Path) -> None:
    store = Store(tmp_path)
    kept = put(store, b"abc")
    path = store.path(kept.sha256)
    path.chmod(0o644)
    path.write_bytes(b"ab")
    assert store.find(SERVER, NAME) is None
    path.unlink()
    assert store.find(SERVER, NAME) is None


def test_rotten_content_is_put_aside_once_and_can_come_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    kept = put(store, b"abc")
    path = store.path(kept.sha256)
    path.chmod(0o644)
    path.write_bytes(b"abd")
    assert not store.is_whole(kept)
    assert not path.exists()
    assert [one.read_bytes() for one in (tmp_path / "quarantine").iterdir()] == [b"abd"]
    assert store.is_whole(put(store, b"abc"))


def test_publishing_over_rotten_content_mends_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.path(put(store, b"abc").sha256)
    path.chmod(0o644)
    path.write_bytes(b"abd")
    assert store.path(put(store, b"abc").sha256).read_bytes() == b"abc"


@pytest.mark.parametrize("server", ["http://../../x", "http://a/b", "http://u:p@host:80", "", "http://" + "h" * 90])
def test_a_server_is_one_folder_whatever_its_address(server: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "in" / "store")
    put(store, b"a", server=server)
    (folder,) = (tmp_path / "in" / "store" / "index").iterdir()
    assert folder.is_dir()
    assert "p@" not in folder.name
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_name_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError):
        Store(tmp_path).partial(SERVER, "../x")


def test_who_waits_too_long_is_told_for_whom(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with (
        store.locked(SERVER, NAME, longest=1.0),
        pytest.raises(ArchiveError, match=rf"process {os.getpid()}") as caught,
        store.locked(SERVER, NAME, longest=0.1),
    ):
        pass
    assert caught.value.code == "M009"


def test_a_store_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"), Store(tmp_path / "file" / "store").locked(SERVER, NAME, longest=1.0):
        pass


def test_the_folder_is_where_the_system_keeps_caches() -> None:
    assert default_folder().parts[-2:] == ("acsrecipe", "archive")
    assert str(default_folder()).startswith(os.environ["XDG_CACHE_HOME"])
