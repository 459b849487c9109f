"""What a CRDS server does wrong, and what comes of it: no wrong or partial file, no hang, and the second try ends it.

The table below is the list of injected faults; each is tried on a reference, most on a rule and on the
server's own answer too.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from standins.crds_archive import make_archive
from standins.crds_inline import follow_here
from standins.crds_server import FAULTS, CrdsServer, serve

from acsrecipe.errors import ArchiveError
from acsrecipe.inputs.references import CrdsSettings, Patience, Progress, fetch_references, open_cache, open_rules

DARK = "bbb0002ij_drk.fits"
TABLE = "ddd0004ij_cte.fits"
RULE = "hst_acs_darkfile_0002.rmap"
HASTY = Patience(connect=2, silence=0.3, least_rate=500, attempts=2, backoff=0.05, longest_wait=3, lock=20)
LONGEST = 10.0
"""Seconds: two attempts of at most a second each, on a busy machine."""

SAID = {
    "500": "the server answers 500",
    "503": "the server answers 503",
    "404": "the server answers 404",
    "slow": r"only \d+ bytes came in|did not answer in time",
    "stalled": "did not answer in time",
    "short": "the connection broke off|bytes came",
    "short-unannounced": r"\d+ bytes came, the catalogue says \d+",
    "long": r"more than the \d+ bytes expected came",
    "wrong-hash": "what came has sha1 [0-9a-f]{40}, the catalogue says [0-9a-f]{40}",
    "html": "a web page instead of",
    "empty": "is not FITS|is not JSON|bytes came",
    "reset": "the connection broke off",
    "gzip": "is not FITS|more than|is not JSON|bytes came",
    "redirect-loop": "redirect",
}


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the start of a process for each request; test_crds_sync.py has the processes."""
    monkeypatch.setattr("acsrecipe.inputs.crds_sync._follow", follow_here)


@pytest.fixture
def server() -> Iterator[CrdsServer]:
    with serve(make_archive()) as running:
        yield running


@pytest.fixture
def settings(server: CrdsServer, tmp_path: Path) -> CrdsSettings:
    return CrdsSettings(str(tmp_path / "cache"), server.url, patience=HASTY)


def final_files(settings: CrdsSettings) -> dict[str, bytes]:
    """Everything that lies under a name that someone may trust."""
    root = Path(settings.cache)
    places = (root / "references", root / "mappings")
    return {path.name: path.read_bytes() for place in places for path in place.rglob("*") if path.is_file()}


def assert_all_whole(server: CrdsServer, settings: CrdsSettings) -> None:
    whole = server.archive.references | server.archive.mappings
    for name, content in final_files(settings).items():
        assert whole.get(name) == content, f"{name} is not what the server has"


def test_the_table_names_every_fault() -> None:
    assert SAID.keys() == set(FAULTS)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_reference_is_named_and_mended_by_the_same_command(
    server: CrdsServer, settings: CrdsSettings, fault: str
) -> None:
    open_rules(settings, "latest")
    server.fail(DARK, fault)
    begun = time.monotonic()
    with pytest.raises(ArchiveError) as caught:
        fetch_references(settings, [DARK, TABLE])
    assert time.monotonic() - begun < LONGEST
    assert re.search(f"{DARK} could not be fetched: .*({SAID[fault]})", caught.value.message), caught.value.message
    assert "run the same command again" in str(caught.value.hint)
    assert DARK not in final_files(settings)
    assert_all_whole(server, settings)
    server.mend()
    fetch_references(settings, [DARK, TABLE])
    assert {DARK, TABLE} <= final_files(settings).keys()
    assert server.fetched(TABLE) == 1
    assert_all_whole(server, settings)


@pytest.mark.parametrize("fault", sorted(set(FAULTS) - {"404", "redirect-loop"}))  # these are not tried again
def test_a_fault_that_passes_is_outlived_in_one_command(server: CrdsServer, settings: CrdsSettings, fault: str) -> None:
    open_rules(settings, "latest")
    server.fail(DARK, fault, times=1)
    told: list[Progress] = []
    fetch_references(settings, [DARK], told.append)
    assert [one.event for one in told if one.event in ("retry", "fetched", "failed")] == ["retry", "fetched"]
    assert server.fetched(DARK) == 2
    assert_all_whole(server, settings)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_rule_leaves_no_rule(server: CrdsServer, settings: CrdsSettings, fault: str) -> None:
    server.fail(RULE, fault)
    begun = time.monotonic()
    with pytest.raises(ArchiveError, match=RULE):
        open_rules(settings, "latest")
    assert time.monotonic() - begun < LONGEST
    assert RULE not in final_files(settings)
    assert_all_whole(server, settings)
    server.mend()
    server.requests.clear()
    open_rules(settings, "latest")
    assert {name for verb, name in server.requests if verb == "GET"} <= {RULE, "hst_acs_pctetab_0001.rmap"}


@pytest.mark.parametrize("fault", sorted(set(FAULTS) - {"wrong-hash", "long"}))
def test_a_fault_of_the_servers_answer_is_never_a_context(
    server: CrdsServer, settings: CrdsSettings, fault: str
) -> None:
    server.fail("get_server_info", fault)
    begun = time.monotonic()
    with pytest.raises(ArchiveError, match="can't be asked which context is the latest") as caught:
        open_rules(settings, "latest")
    assert time.monotonic() - begun < LONGEST
    assert caught.value.exit_code == 4
    assert not (Path(settings.cache) / "config").exists()
    server.mend()
    assert open_rules(settings, "latest").context.name == "hst_0002.pmap"


def test_retry_after_is_obeyed(server: CrdsServer, settings: CrdsSettings) -> None:
    open_rules(settings, "latest")
    server.fail(DARK, "503", times=1, seconds=2)
    begun = time.monotonic()
    fetch_references(settings, [DARK])
    assert time.monotonic() - begun >= 2


def test_a_retry_after_without_end_is_not_waited_for(server: CrdsServer, settings: CrdsSettings) -> None:
    open_rules(settings, "latest")
    server.fail(DARK, "503", seconds=86400)
    begun = time.monotonic()
    with pytest.raises(ArchiveError, match="asks to wait 86400 s"):
        fetch_references(settings, [DARK])
    assert time.monotonic() - begun < LONGEST
    assert server.fetched(DARK) == 1


def test_a_file_that_changes_between_two_tries_is_never_glued(server: CrdsServer, settings: CrdsSettings) -> None:
    """The first half comes of one version; the server then has another, and says so in its catalogue."""
    open_rules(settings, "latest")
    server.fail(DARK, "short")
    with pytest.raises(ArchiveError):
        fetch_references(settings, [DARK])
    server.mend()
    later = server.archive.references[DARK].replace(b"bbb0002", b"BBB0002")
    server.archive.references[DARK] = later
    with pytest.raises(ArchiveError, match="what came has sha1"):
        fetch_references(settings, [DARK])
    assert DARK not in final_files(settings)
    open_rules(settings, "latest")
    fetch_references(settings, [DARK])
    assert final_files(settings)[DARK] == later


@pytest.mark.parametrize(
    "answer",
    [
        {"download_metadata": {"crds_encoded": "1.0", "crds_payload": "not base64 of gzip"}},
        {"download_metadata": 5},
        {"operational_context": "../../hst_0002.pmap", "latest_context": None},
        {"operational_context": "hst_9999.pmap", "latest_context": None},
        {"mapping_url": "none"},
        {"mapping_url": {"hst": "file:///etc/"}},
        {"mapping_url": {"hst": "http://"}},
        {"mappings": 5},
    ],
)
def test_a_servers_answer_that_makes_no_sense_is_refused(
    server: CrdsServer, settings: CrdsSettings, answer: dict[str, object]
) -> None:
    server.info_changes |= answer
    with pytest.raises(ArchiveError) as caught:
        open_rules(settings, "latest")
    assert caught.value.exit_code == 4
    assert caught.value.code in ("C020", "C021", "C022", "C023")
    assert final_files(settings) == {}


def test_a_corrupted_cached_reference_is_found_every_time(server: CrdsServer, settings: CrdsSettings) -> None:
    """crds's own client trusts it from the second time on."""
    path = Path(fetch_references(settings, [DARK])[DARK].path)
    offline = CrdsSettings(settings.cache, None)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    for _ in range(3):
        with pytest.raises(ArchiveError, match=f"{DARK} has sha1"):
            fetch_references(offline, [DARK])
    fetch_references(settings, [DARK])
    assert fetch_references(offline, [DARK])[DARK].path == str(path)
    assert open_cache(settings).reference_path(DARK).read_bytes() == whole
