"""One file into the store: resumed only when that is proven safe, fetched once by however many."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standins.mast_server import FailingServer, serve_failing

from acsrecipe.errors import ArchiveError, IntegrityError, OutputError
from acsrecipe.inputs import download
from acsrecipe.inputs.crds_cache import Patience
from acsrecipe.inputs.download import Progress, Wanted, fetch
from acsrecipe.inputs.store import Store
from acsrecipe.inputs.wire import LastingError, MastSettings, _read_wait, read_content_range

HASTY = Patience(connect=1.0, silence=0.4, least_rate=1000.0, attempts=2, backoff=0.02, longest_wait=1.0, lock=5.0)
NAME = "j9l960a7q_raw.fits"
BLOCKS = 600


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FailingServer]:
    folder = tmp_path / "archive"
    folder.mkdir()
    cards = ["SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   =                    1"]
    cards += [f"NAXIS1  = {2880 * BLOCKS:>20d}", "DATE    = '2020-01-01'", "INSTRUME= 'ACS'", "END"]
    pixels = bytes(at * at % 251 for at in range(2880 * BLOCKS))
    (folder / NAME).write_bytes("".join(f"{card:<80}" for card in cards).ljust(2880).encode() + pixels)
    with serve_failing(folder) as serving:
        yield serving


def bring(server: FailingServer, root: Path, *, seen: str = "", report: object = None, attempts: int = 2) -> str:
    patience = Patience(**{**vars(HASTY), "attempts": attempts})
    settings = MastSettings(server=server.url, patience=patience, deadline=10.0)
    source = f"{server.url}/search/hst/api/v0.1/retrieve_product?product_name=J9L960A7Q%2F{NAME}"
    wanted = Wanted(NAME, source, server.files[NAME].stat().st_size, seen)
    return fetch(wanted, settings, Store(root), report).sha256  # type: ignore[arg-type]


def true_sum(server: FailingServer) -> str:
    return hashlib.sha256(server.files[NAME].read_bytes()).hexdigest()


def test_what_came_before_a_break_is_not_fetched_again(server: FailingServer, tmp_path: Path) -> None:
    size = server.files[NAME].stat().st_size
    server.fail(NAME, "short", times=1)
    assert bring(server, tmp_path / "store") == true_sum(server)
    assert [span for _, _, span in server.requests] == ["", f"bytes={size // 2}-"]
    assert server.bytes_sent == size


def test_another_process_goes_on_where_the_first_gave_up(server: FailingServer, tmp_path: Path) -> None:
    size = server.files[NAME].stat().st_size
    server.fail(NAME, "short", times=1)
    with pytest.raises(ArchiveError, match=f"broke off after {size // 2} of {size} bytes"):
        bring(server, tmp_path / "store", attempts=1)
    server.forget()
    assert bring(server, tmp_path / "store") == true_sum(server)
    assert [span for _, _, span in server.requests] == [f"bytes={size // 2}-"]
    assert list((tmp_path / "store" / "partial").rglob("*.fits*")) == []


def test_without_a_name_for_the_version_nothing_is_gone_on_with(server: FailingServer, tmp_path: Path) -> None:
    server.fail(NAME, "short-no-etag", times=1)
    assert bring(server, tmp_path / "store") == true_sum(server)
    assert [span for _, _, span in server.requests] == ["", ""]


@given(damage=st.sampled_from(["a byte", "shorter", "longer", "link", "notes", "empty notes", "another source"]))
def test_a_part_that_is_not_as_it_was_left_is_never_gone_on_with(
    damage: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("damage")
    (root / "archive").mkdir()
    content = make_content()
    (root / "archive" / NAME).write_bytes(content)
    with serve_failing(root / "archive") as server:
        server.fail(NAME, "short", times=1)
        with pytest.raises(ArchiveError):
            bring(server, root / "store", attempts=1)
        (part,) = (root / "store" / "partial").rglob(NAME)
        notes = part.with_name(f"{NAME}.json")
        spoil(part, notes, damage)
        server.forget()
        assert bring(server, root / "store") == hashlib.sha256(content).hexdigest()
        # Longer is what a killed process leaves between two notes: the noted beginning is still good.
        resumed = [bool(span) for _, _, span in server.requests]
        assert resumed == [damage == "longer"]


def make_content() -> bytes:
    cards = ["SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   =                    1"]
    cards += ["NAXIS1  =                28800", "END"]
    return "".join(f"{card:<80}" for card in cards).ljust(2880).encode() + bytes(range(250)) * 115 + bytes(50)


def spoil(part: Path, notes: Path, damage: str) -> None:
    if damage == "a byte":
        data = bytearray(part.read_bytes())
        data[5000] ^= 1
        part.write_bytes(data)
    elif damage == "shorter":
        part.write_bytes(part.read_bytes()[:-1])
    elif damage == "longer":
        part.write_bytes(part.read_bytes() + b"junk")
    elif damage == "link":
        aside = part.rename(part.with_name("aside"))
        part.symlink_to(aside)
    elif damage == "notes":
        notes.write_text("{]")
    elif damage == "empty notes":
        notes.write_bytes(b"")
    else:
        said = json.loads(notes.read_text())
        notes.write_text(json.dumps({**said, "source": "http://other/"}))


def test_a_killed_download_is_gone_on_with_from_its_last_note(
    server: FailingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_CHECKPOINT", 300_000)
    program = (
        "import os, sys; sys.path[:0] = sys.argv[4:]\n"
        "from pathlib import Path; from acsrecipe.inputs import download\n"
        "from acsrecipe.inputs.download import *; from acsrecipe.inputs.wire import MastSettings\n"
        "download._CHECKPOINT = 300_000; download._BEAT = 0\n"
        "def report(step):\n    if step.done > 900_000: os.kill(os.getpid(), 9)\n"
        f"fetch(Wanted('{NAME}', sys.argv[1], int(sys.argv[2])), MastSettings(server=sys.argv[1]), "
        "Store(Path(sys.argv[3])), report)\n"
    )
    source = f"{server.url}/search/hst/api/v0.1/retrieve_product?product_name=J9L960A7Q%2F{NAME}"
    size = server.files[NAME].stat().st_size
    killed = subprocess.run([sys.executable, "-c", program, source, str(size), str(tmp_path / "store")], check=False)
    assert killed.returncode == -9
    assert not (tmp_path / "store" / "objects").exists()
    server.forget()
    assert bring(server, tmp_path / "store") == true_sum(server)
    ((_, _, span),) = server.requests
    assert 300_000 <= int(span[6:-1]) <= 1_200_000


def test_a_deadline_ends_a_download_and_the_next_call_goes_on(server: FailingServer, tmp_path: Path) -> None:
    server.rate = 1e6
    source = f"{server.url}/search/hst/api/v0.1/retrieve_product?product_name=J9L960A7Q%2F{NAME}"
    wanted = Wanted(NAME, source, server.files[NAME].stat().st_size)
    settings = MastSettings(server=server.url, patience=HASTY, deadline=0.5)
    began = time.monotonic()
    with pytest.raises(ArchiveError, match="its deadline is over") as caught:
        fetch(wanted, settings, Store(tmp_path / "store"))
    assert time.monotonic() - began < 1.5
    assert caught.value.code == "M005"
    server.rate = 0
    server.forget()
    assert bring(server, tmp_path / "store") == true_sum(server)
    assert server.bytes_sent < server.files[NAME].stat().st_size


def test_a_disk_that_fills_up_on_the_way_is_named_and_nothing_is_published(
    server: FailingServer, tmp_path: Path
) -> None:
    program = (
        "import resource, sys; from pathlib import Path; from acsrecipe.errors import OutputError\n"
        "from acsrecipe.inputs.download import *; from acsrecipe.inputs.wire import MastSettings\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))\n"
        "try:\n"
        f"    fetch(Wanted('{NAME}', sys.argv[1], int(sys.argv[2])), MastSettings(server=sys.argv[1]), "
        "Store(Path(sys.argv[3])))\n"
        "except OutputError as error:\n    print(error)\n"
    )
    source = f"{server.url}/search/hst/api/v0.1/retrieve_product?product_name=J9L960A7Q%2F{NAME}"
    size = server.files[NAME].stat().st_size
    command = [sys.executable, "-c", program, source, str(size), str(tmp_path / "store")]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert NAME in said
    assert "free some space" in said
    assert not (tmp_path / "store" / "objects").exists()
    assert bring(server, tmp_path / "store") == true_sum(server)


def test_many_at_once_fetch_a_file_once(server: FailingServer, tmp_path: Path) -> None:
    server.rate = 5e6
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(bring(server, tmp_path / "store"))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [true_sum(server)] * 5
    assert server.asked(NAME) == 1


def test_progress_tells_bytes_and_what_went_wrong(server: FailingServer, tmp_path: Path) -> None:
    heard: list[Progress] = []
    server.fail(NAME, "500", times=1)
    bring(server, tmp_path / "store", report=heard.append)
    size = server.files[NAME].stat().st_size
    assert any("answers 500" in step.note and "attempt 2 of 2" in step.note for step in heard)
    assert (heard[-1].done, heard[-1].size) == (size, size)
    assert str(Progress(NAME, 12_300_000, 34_100_000, 2.0)) == f"{NAME} 12.3 of 34.1 MB, 6.2 MB/s, 4 s left"


def test_a_link_under_the_name_of_a_part_is_not_followed(server: FailingServer, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    part = Store(tmp_path / "store").partial(server.url, NAME)
    part.symlink_to(victim)
    assert bring(server, tmp_path / "store") == true_sum(server)
    assert victim.read_text() == "mine"


def test_a_link_under_a_final_name_is_not_followed(server: FailingServer, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    path = Store(tmp_path / "store").path(true_sum(server))
    path.parent.mkdir(parents=True)
    path.symlink_to(victim)
    bring(server, tmp_path / "store")
    assert victim.read_text() == "mine"
    assert not path.is_symlink()
    assert hashlib.sha256(path.read_bytes()).hexdigest() == true_sum(server)


@pytest.mark.parametrize("name", ["../x_raw.fits", "/x", "a/b", "x\0y", "con.fits", "-v", "", "x" * 300])
def test_no_name_leads_out_of_the_store(name: str, server: FailingServer, tmp_path: Path) -> None:
    settings = MastSettings(server=server.url, patience=HASTY)
    with pytest.raises(IntegrityError):
        fetch(Wanted(name, server.url), settings, Store(tmp_path / "in" / "store"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive"]
    assert server.requests == []


def test_no_room_is_said_before_a_byte_is_asked_for(
    server: FailingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs

    def full(path: object) -> os.statvfs_result:
        found = list(real(path))  # type: ignore[arg-type]
        found[4] = 1
        return os.statvfs_result(found)

    monkeypatch.setattr(os, "statvfs", full)
    with pytest.raises(OutputError, match=r"j9l960a7q_raw.fits has 1.7 MB, and 0.0 MB are free") as caught:
        bring(server, tmp_path / "store")
    assert caught.value.code == "M008"
    assert server.requests == []


def test_what_is_seen_before_and_after_is_the_same(server: FailingServer, tmp_path: Path) -> None:
    content = server.files[NAME].read_bytes()
    seen = hashlib.sha256(content[:2880]).hexdigest()
    assert bring(server, tmp_path / "store", seen=seen) == true_sum(server)
    server.forget()
    assert bring(server, tmp_path / "store", seen=seen) == true_sum(server)
    assert server.requests == []


@given(text=st.text(max_size=40))
def test_odd_ranges_are_refused_not_believed(text: str) -> None:
    try:
        first, last, total = read_content_range(text)
    except LastingError:
        return
    assert min(first, last) >= 0
    assert total >= -1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("120", 120), ("", 0), ("soon", 0), ("-5", 0), ("9" * 40, 0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0)],
)
def test_a_wait_is_read_as_seconds(text: str, seconds: float) -> None:
    assert _read_wait(text) == seconds


def test_a_wait_is_read_as_a_date() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90))
    assert 60 <= _read_wait(soon) <= 91
