from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from standins.crds_archive import Archive, make_archive, write_cache, write_context
from standins.crds_inline import follow_here
from standins.crds_server import CrdsServer, serve

from acsrecipe.errors import ArchiveError
from acsrecipe.inputs.crds_sync import Progress
from acsrecipe.inputs.references import CrdsSettings, Patience, fetch_references, open_cache, open_rules

HASTY = Patience(connect=2, silence=0.6, least_rate=500, attempts=3, backoff=0.05, longest_wait=3, lock=20)
DARK = "bbb0002ij_drk.fits"
TABLE = "ddd0004ij_cte.fits"
WFC = {
    "INSTRUME": "ACS",
    "DETECTOR": "WFC",
    "CCDAMP": "ABCD",
    "CCDGAIN": 2.0,
    "DARKCORR": "PERFORM",
    "PCTECORR": "OMIT",
    "DATE-OBS": "2006-03-06",
    "TIME-OBS": "06:00:00",
}


@pytest.fixture(autouse=True)
def _in_this_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the start of a process, but in tests that are about it."""
    if "apart" not in request.fixturenames:
        monkeypatch.setattr("acsrecipe.inputs.crds_sync._follow", follow_here)


@pytest.fixture
def apart() -> None:
    """Fetch in a process apart, as is done outside of tests."""


@pytest.fixture
def server() -> Iterator[CrdsServer]:
    with serve(make_archive()) as running:
        yield running


@pytest.fixture
def settings(server: CrdsServer, tmp_path: Path) -> CrdsSettings:
    return CrdsSettings(str(tmp_path / "cache"), server.url, patience=HASTY)


def files_below(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def path_of(settings: CrdsSettings, name: str) -> Path:
    return open_cache(settings).reference_path(name)


def test_only_the_acs_rules_of_the_context_are_fetched(server: CrdsServer, settings: CrdsSettings) -> None:
    rules = open_rules(settings, "hst_0001.pmap")
    assert rules.choose(WFC)["DARKFILE"].name == DARK
    assert sorted(server.requests) == [
        ("GET", "hst_0001.pmap"),
        ("GET", "hst_acs_0001.imap"),
        ("GET", "hst_acs_darkfile_0001.rmap"),
        ("GET", "hst_acs_pctetab_0001.rmap"),
        ("POST", "get_server_info"),
    ]
    assert (rules.context.source, rules.context.server) == ("recipe", server.url)


def test_the_second_time_only_the_server_is_asked(server: CrdsServer, settings: CrdsSettings) -> None:
    open_rules(settings, "latest")
    server.requests.clear()
    open_rules(settings, "latest")
    assert server.requests == [("POST", "get_server_info")]


def test_latest_is_the_servers_and_says_so(server: CrdsServer, settings: CrdsSettings) -> None:
    server.info_changes["context_history"] = [["2026-01-02 03:04:05", "hst_0002.pmap", "why"]]
    context = open_rules(settings, "latest").context
    assert context.name == "hst_0002.pmap"
    assert context.source == f"server {server.url}, latest since 2026-01-02"
    assert time.time() - time.mktime(time.strptime(context.synced + " UTC", "%Y-%m-%dT%H:%M:%S %Z")) < 86400


@pytest.mark.usefixtures("apart")
def test_a_server_that_is_down_is_no_reason_to_take_an_old_latest(settings: CrdsSettings, tmp_path: Path) -> None:
    write_cache(make_archive(), tmp_path / "cache")
    gone = CrdsSettings(settings.cache, "http://localhost:9", patience=HASTY)
    with pytest.raises(
        ArchiveError, match="can't be asked which context is the latest: the connection was refused"
    ) as caught:
        open_rules(gone, "latest")
    assert "--offline uses the cached hst_0002.pmap (last heard of 2026-01-02T03:04:05)" in str(caught.value.hint)


def test_a_named_context_of_the_cache_is_good_without_its_server_and_says_so(
    settings: CrdsSettings, tmp_path: Path
) -> None:
    write_cache(make_archive(), tmp_path / "cache")
    gone = CrdsSettings(settings.cache, "http://localhost:9", patience=HASTY)
    rules = open_rules(gone, "hst_0001.pmap")
    assert rules.choose(WFC)["DARKFILE"].name == DARK
    assert [one.severity for one in rules.observed] == ["warning"]
    assert "the connection was refused" in rules.observed[0].message
    assert rules.context.source == "recipe (the server could not be asked)"
    assert rules.context.server == ""


def test_a_named_context_that_the_cache_lacks_needs_its_server(settings: CrdsSettings) -> None:
    gone = CrdsSettings(settings.cache, "http://localhost:9", patience=HASTY)
    with pytest.raises(ArchiveError, match=r"can't be asked for the rules of hst_0001\.pmap"):
        open_rules(gone, "hst_0001.pmap")


def test_offline_never_connects(settings: CrdsSettings, tmp_path: Path) -> None:
    """The server named is one that notes every connection."""
    write_cache(make_archive(), tmp_path / "cache", references=False)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.3)
        address = f"http://localhost:{listener.getsockname()[1]}"
        offline = CrdsSettings(settings.cache, address, offline=True)
        context = open_rules(offline, "latest").context
        with pytest.raises(
            ArchiveError, match=rf"1 references are not in the CRDS cache.*\n  {TABLE} is not there"
        ) as caught:
            fetch_references(offline, [TABLE])
        with pytest.raises(TimeoutError):
            listener.accept()
    assert context.source == "cache: operational context of server_config, server not asked"
    assert caught.value.hint == "without --offline they are fetched"


@pytest.mark.usefixtures("apart")
def test_references_are_fetched_whole_and_only_once(server: CrdsServer, settings: CrdsSettings) -> None:
    open_rules(settings, "hst_0001.pmap")
    told: list[Progress] = []
    first = fetch_references(settings, [DARK, TABLE, "N/A", DARK], told.append)
    second = fetch_references(settings, [DARK, TABLE])
    assert first == second
    for name in (DARK, TABLE):
        assert server.fetched(name) == 1
        assert Path(first[name].path).read_bytes() == server.archive.references[name]
        assert first[name].sha1 == server.archive.catalogue()[name]["sha1sum"]
    assert [(one.event, one.name) for one in told] == [("fetched", DARK), ("fetched", TABLE)]


def test_a_cold_cache_asks_for_the_catalogue_by_itself(server: CrdsServer, settings: CrdsSettings) -> None:
    fetch_references(settings, [DARK])
    assert server.fetched("get_server_info") == 1


@pytest.mark.parametrize(("layout", "folder"), [("flat", ""), ("instrument", "acs"), (None, "acs")])
def test_references_are_filed_by_the_caches_layout(
    settings: CrdsSettings, tmp_path: Path, layout: str | None, folder: str
) -> None:
    if layout:
        write_cache(make_archive(), tmp_path / "cache", layout, references=False)
    found = fetch_references(settings, [DARK])[DARK]
    assert Path(found.path) == tmp_path / "cache" / "references" / "hst" / folder / DARK


@pytest.mark.parametrize("damage", [b"", b"half", None])
def test_a_damaged_reference_is_put_aside_and_fetched_again(
    server: CrdsServer, settings: CrdsSettings, damage: bytes | None
) -> None:
    path = Path(fetch_references(settings, [DARK])[DARK].path)
    whole = path.read_bytes()
    path.write_bytes(damage if damage is not None else whole[:-1] + b"!")
    told: list[Progress] = []
    fetch_references(settings, [DARK], told.append)
    assert path.read_bytes() == whole
    assert [one.event for one in told] == ["quarantined", "fetched"]
    aside = list((Path(settings.cache) / "quarantine").rglob(f"{DARK}.*"))
    assert len(aside) == 1
    assert server.fetched(DARK) == 2


def test_a_damaged_reference_is_found_offline_and_left_where_it_is(settings: CrdsSettings) -> None:
    path = Path(fetch_references(settings, [DARK])[DARK].path)
    damaged = path.read_bytes()[:-1] + b"!"
    path.write_bytes(damaged)
    offline = CrdsSettings(settings.cache, settings.server, offline=True)
    with pytest.raises(ArchiveError, match=rf"{DARK} has sha1 "):
        fetch_references(offline, [DARK])
    assert path.read_bytes() == damaged


def test_a_damaged_rule_is_fetched_again(server: CrdsServer, settings: CrdsSettings) -> None:
    open_rules(settings, "hst_0001.pmap")
    path = open_cache(settings).mapping_path("hst_acs_pctetab_0001.rmap")
    path.write_bytes(path.read_bytes().replace(b"ddd0004", b"eee0004"))
    rules = open_rules(settings, "hst_0001.pmap")
    assert rules.choose(WFC | {"PCTECORR": "PERFORM"})["PCTETAB"].name == TABLE
    assert "put aside and fetched again" in rules.observed[0].message
    assert server.fetched("hst_acs_pctetab_0001.rmap") == 2


def test_what_the_server_says_is_remembered_for_crds_itself(server: CrdsServer, settings: CrdsSettings) -> None:
    server.archive.bad = (DARK,)
    rules = open_rules(settings, "latest")
    config = Path(settings.cache) / "config" / "hst"
    assert (config / "bad_files.txt").read_text() == DARK
    assert (config / "ref_cache_subdir_mode").read_text() == "instrument"
    assert "last_synced" in (config / "server_config").read_text()
    assert DARK in rules.cache.bad_files


def test_a_server_of_another_observatory_is_refused(server: CrdsServer, settings: CrdsSettings) -> None:
    server.info_changes["observatory"] = "jwst"
    with pytest.raises(ArchiveError, match="it serves 'jwst', expected 'hst'"):
        open_rules(settings, "latest")


def test_an_older_server_without_a_catalogue_in_its_info_is_asked_for_it(
    server: CrdsServer, settings: CrdsSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Archive.info

    def without(self: Archive, base: str = "none") -> dict[str, object]:
        return {key: value for key, value in whole(self, base).items() if key != "download_metadata"}

    monkeypatch.setattr(Archive, "info", without)
    assert fetch_references(settings, [DARK])[DARK].sha1
    assert server.fetched("get_file_info_map") == 1


@pytest.mark.parametrize("name", ["../../x.fits", "/x.fits", "a" * 300 + ".fits", "x\0.fits", "-rf.fits", "x.txt"])
def test_a_hostile_name_is_refused_and_nothing_is_written_elsewhere(
    server: CrdsServer, settings: CrdsSettings, tmp_path: Path, name: str
) -> None:
    server.archive.references[name] = b"SIMPLE  ="
    with pytest.raises(ArchiveError, match="not the plain name of a reference"):
        fetch_references(settings, [name])
    assert all(one.startswith(("config/", ".acsrecipe.lock")) for one in files_below(tmp_path / "cache"))
    assert files_below(tmp_path) == {f"cache/{one}" for one in files_below(tmp_path / "cache")}


def test_a_context_whose_rules_lie_elsewhere_by_name_is_refused(server: CrdsServer, settings: CrdsSettings) -> None:
    server.archive.mappings |= write_context(1, {"darkfile": "../../evil.rmap"})
    with pytest.raises(ArchiveError, match="not the plain name of a mapping"):
        open_rules(settings, "hst_0001.pmap")


def test_a_link_at_the_target_is_replaced_not_followed(settings: CrdsSettings, tmp_path: Path) -> None:
    open_rules(settings, "latest")
    victim = tmp_path / "victim"
    victim.write_text("mine")
    path = path_of(settings, DARK)
    path.parent.mkdir(parents=True)
    path.symlink_to(victim)
    fetch_references(settings, [DARK])
    assert victim.read_text() == "mine"
    assert not path.is_symlink()


def test_what_the_catalogue_does_not_know_is_not_asked_for(server: CrdsServer, settings: CrdsSettings) -> None:
    with pytest.raises(ArchiveError, match=r"nosuch_drk\.fits is not known to the CRDS server"):
        fetch_references(settings, ["nosuch_drk.fits"])
    assert server.fetched("nosuch_drk.fits") == 0


@pytest.mark.usefixtures("apart")
def test_one_bad_file_does_not_keep_the_others_from_coming(server: CrdsServer, settings: CrdsSettings) -> None:
    server.fail(DARK, "404")
    with pytest.raises(ArchiveError, match=rf"1 of 2 references could not be had:\n  {DARK}") as caught:
        fetch_references(settings, [DARK, TABLE])
    assert caught.value.exit_code == 4
    assert path_of(settings, TABLE).is_file()


def test_a_file_where_the_cache_should_be_is_named(settings: CrdsSettings) -> None:
    Path(settings.cache).write_text("a file where the folder should be")
    with pytest.raises(ArchiveError, match="is not a folder"):
        open_rules(settings, "latest")


@pytest.mark.usefixtures("apart")
def test_two_processes_that_fill_one_cache_fetch_each_file_once(server: CrdsServer, settings: CrdsSettings) -> None:
    server.latency = 0.1
    outcomes: list[object] = []

    def fill() -> None:
        try:
            open_rules(settings, "latest")
            outcomes.append(fetch_references(settings, [DARK, TABLE]).keys())
        except ArchiveError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=fill) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [{DARK, TABLE}, {DARK, TABLE}]
    fetched = [name for verb, name in server.requests if verb == "GET"]
    assert len(fetched) == len(set(fetched)) == 6


def test_a_lock_that_is_never_released_is_given_up_with_its_holders_name(settings: CrdsSettings) -> None:
    import fcntl

    fetch_references(settings, [DARK])
    with (Path(settings.cache) / ".acsrecipe.lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("process 12345 \n")
        lock.flush()
        hasty = CrdsSettings(settings.cache, settings.server, patience=Patience(lock=0.5))
        with pytest.raises(ArchiveError, match="being filled by process 12345"):
            fetch_references(hasty, [TABLE])


def test_a_fetch_that_was_killed_leaves_no_file_and_no_lock(server: CrdsServer, settings: CrdsSettings) -> None:
    """The process that fetches is killed half way; the next one takes over."""
    open_rules(settings, "latest")
    server.fail(DARK, "stalled", times=1)
    code = (
        "import sys; from acsrecipe.inputs.references import *\n"
        f"fetch_references(CrdsSettings({settings.cache!r}, {settings.server!r}), [{DARK!r}])"
    )
    run = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    deadline = time.monotonic() + 20
    while server.fetched(DARK) == 0 and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    assert not path_of(settings, DARK).exists()
    assert fetch_references(settings, [DARK])[DARK].size == len(server.archive.references[DARK])
    assert [path.name for path in path_of(settings, DARK).parent.iterdir()] == [DARK]


def test_the_process_that_fetches_is_gone_when_its_caller_is_interrupted(
    server: CrdsServer, settings: CrdsSettings
) -> None:
    server.fail(DARK, "503", seconds=2)
    code = (
        "from acsrecipe.inputs.references import *\n"
        f"fetch_references(CrdsSettings({settings.cache!r}, {settings.server!r}), [{DARK!r}])"
    )
    run = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while server.fetched(DARK) == 0 and time.monotonic() < deadline:
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    assert run.wait(10) != 0
    time.sleep(0.2)
    asked = server.fetched(DARK)
    time.sleep(2.5)
    assert server.fetched(DARK) == asked


@pytest.mark.usefixtures("apart")
def test_a_fetching_process_that_dies_is_no_success(
    settings: CrdsSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying = tmp_path / "python"
    dying.write_text("#!/bin/sh\necho 'Killed by the kernel' >&2\nexit 137\n")
    dying.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(dying))
    with pytest.raises(ArchiveError, match="ended early: Killed by the kernel"):
        fetch_references(settings, [DARK])


@pytest.mark.usefixtures("apart")
def test_a_fetching_process_that_falls_silent_is_ended(
    settings: CrdsSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = tmp_path / "python"
    silent.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    silent.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(silent))
    monkeypatch.setattr("acsrecipe.inputs.crds_sync._MARGIN", 0.1)
    hasty = CrdsSettings(settings.cache, settings.server, patience=Patience(connect=0.2, silence=0.2))
    begun = time.monotonic()
    with pytest.raises(ArchiveError, match="made no progress"):
        fetch_references(hasty, [DARK])
    assert time.monotonic() - begun < 5
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_crds_own_client_unpatched_works_against_the_stand_in(
    server: CrdsServer, tmp_path: Path, shared_dir: Path
) -> None:
    raw = tmp_path / "j9sy01a1q_raw.fits"
    shutil.copyfile(shared_dir / "golden" / "pre_dth" / "data" / raw.name, raw)
    environment = {
        "PATH": os.defpath,
        "HOME": str(tmp_path),
        "CRDS_PATH": str(tmp_path / "theirs"),
        "CRDS_SERVER_URL": server.url,
        "CRDS_OBSERVATORY": "hst",
    }
    command = [sys.executable, "-m", "crds.bestrefs", "--files", str(raw), "--new-context", "hst_0001.pmap"]
    done = subprocess.run(
        [*command, "--update-bestrefs", "--sync-references=1"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "theirs" / "references" / "hst" / "acs" / DARK).read_bytes() == server.archive.references[DARK]
    # And what it leaves in its cache is a cache to us.
    rules = open_rules(CrdsSettings(str(tmp_path / "theirs")), "hst_0001.pmap")
    dark = rules.choose(WFC)["DARKFILE"].file
    assert dark is not None
    assert dark.sha1 == server.archive.catalogue()[DARK]["sha1sum"]


def test_crds_own_client_reads_offline_what_we_fetched(settings: CrdsSettings, tmp_path: Path) -> None:
    open_rules(settings, "hst_0002.pmap")
    environment = {"PATH": os.defpath, "HOME": str(tmp_path), "CRDS_PATH": settings.cache, "CRDS_OBSERVATORY": "hst"}
    code = (
        "import crds; print(crds.getrecommendations("
        f"{ {key: str(value) for key, value in WFC.items()}!r}, ['darkfile'], observatory='hst', fast=True))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "{'darkfile': 'ccc0003ij_drk.fits'}"
