"""What comes of each way in which MAST's server can fail: the table of docs/archives.md.

For every fault: no partial or wrong file has a final name, nothing takes longer than its deadline, the error names
the file and what to do, and once the fault is gone the same call finishes without fetching again what was whole.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from standins.mast_server import FailingServer, serve_failing

from acsrecipe.api import find_exposures, load_recipe
from acsrecipe.demo.dataset import Dataset, make_dataset
from acsrecipe.environment import Environment
from acsrecipe.errors import AcsRecipeError, ArchiveError, IntegrityError
from acsrecipe.inputs.crds_cache import Patience
from acsrecipe.inputs.download import Wanted, fetch
from acsrecipe.inputs.model import Observed
from acsrecipe.inputs.store import Store
from acsrecipe.inputs.survey import Found
from acsrecipe.inputs.wire import MastSettings
from acsrecipe.recipe.toml import LoadedRecipe

HASTY = Patience(connect=1.0, silence=0.4, least_rate=2000.0, attempts=3, backoff=0.02, longest_wait=1.5, lock=3.0)
DEADLINE = 4.0
BAD = "j9l960a7q_raw.fits"
GOOD = "j9l960a9q_raw.fits"


@dataclass(frozen=True)
class Case:
    """A fault of the server, and what must come of it: an error of this code and text, or success (no code)."""

    kind: str
    code: str = ""
    text: str = ""
    times: int = 10**9
    seconds: float = 0.0

    @property
    def name(self) -> str:
        return self.kind if self.times > 1000 else f"{self.kind} x{self.times}"


CASES = (
    Case("500", "M005", "answers 500"),
    Case("502", times=2),
    Case("503", times=1, seconds=1),
    Case("503", "M005", "asks to wait 3600 s", seconds=3600),
    Case("429", times=1, seconds=1),
    Case("418", "M005", "answers 418"),
    Case("404", "M004", "answers 404"),
    Case("401", "M003", "not public"),
    Case("403", "M003", "not public"),
    Case("reset", "M005", "broke off"),
    Case("reset", times=2),
    Case("slow", "M005", "bytes came in"),
    Case("stalled", "M005", "nothing came in time"),
    Case("stalled", times=1),
    Case("short", "M005", "broke off after"),
    Case("short", times=2),
    Case("short-no-etag", times=2),
    Case("short-consistent", "M006", "sends 100800 bytes, the archive lists 201600"),
    Case("long-consistent", "M006", "sends 204480 bytes, the archive lists 201600"),
    Case("long-body"),
    Case("no-length"),
    Case("no-length-short", "M005", "broke off after"),
    Case("empty", "M006", "sends 0 bytes"),
    Case("html", "M006", "a page instead of the file (text/html)"),
    Case("json", "M006", "a page instead of the file (application/json)"),
    Case("not-fits", "M006", "no FITS file"),
    Case("zeros", "M006", "no FITS file"),
    Case("damaged-header", "M006", "damaged header"),
    Case("cut-to-size", "M006", "what the server sent"),
    Case("gzip", "M005", "gzip-encoded"),
    Case("redirect-loop", "M005", "from one address to the next"),
    Case("redirect-file", "M005", "not an http(s) address"),
)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_dataset(tmp_path_factory.mktemp("demo") / "d", exposures=2)


@pytest.fixture
def recipe(tmp_path: Path) -> LoadedRecipe:
    path = tmp_path / "recipe.toml"
    path.write_text('format = 1\nname = "x"\n[observations]\nids = ["J9L960010"]\narchive = "mast"\n')
    return load_recipe(path)


def surroundings(server: FailingServer, folder: Path) -> Environment:
    return Environment(mast_server=server.url, downloads=str(folder), patience=HASTY, deadline=DEADLINE)


def bring(recipe: LoadedRecipe, environment: Environment) -> tuple[Found, list[Observed]]:
    """Do what `acsrecipe fetch` does for exposures."""
    found = find_exposures(recipe, environment, whole=True)
    return found, [one for one in found.observed if one.severity == "error"]


def assert_only_true_files(root: Path, archive: Path) -> None:
    """Everything under a final name is a file of the archive, whole, and named by its content."""
    true = {hashlib.sha256(path.read_bytes()).hexdigest() for path in archive.iterdir()}
    for path in (root / "objects").rglob("*"):
        if path.is_file():
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            assert found in true
            assert path.name == f"{found}.fits"


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}-{case.code or 'heals'}")
def test_a_failing_download_leaves_nothing_wrong_behind_and_is_finished_later(
    case: Case, demo: Dataset, recipe: LoadedRecipe, tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    with serve_failing(demo.data) as server:
        environment = surroundings(server, tmp_path / "store")
        server.fail(BAD, case.kind, case.times, case.seconds)
        began = time.monotonic()
        _, wrong = bring(recipe, environment)
        spent = time.monotonic() - began
        assert spent < DEADLINE + 1.5
        assert_only_true_files(tmp_path / "store", demo.data)
        assert [one.code for one in wrong] == ([case.code] if case.code else [])
        if case.code:
            assert wrong[0].file.endswith(BAD)
            assert case.text in wrong[0].message
            assert wrong[0].hint
            record_property("outcome", f"{case.code} {wrong[0].message} ({spent:.1f} s)")
        server.mend()
        server.forget()
        found, wrong = bring(recipe, environment)
        assert wrong == []
        assert [one.rootname for one in found.exposures] == ["j9l960a7q", "j9l960a9q"]
        assert found.exposures[0].raw.sha256 == hashlib.sha256((demo.data / BAD).read_bytes()).hexdigest()
        # What was whole is looked at, one block of it, and not fetched again.
        assert [asked for _, path, asked in server.requests if GOOD in path] == ["bytes=0-2879"]
        assert_only_true_files(tmp_path / "store", demo.data)


LISTING = (
    Case("500", "M001", "answers 500"),
    Case("503", times=2),
    Case("503", "M001", "asks to wait 3600 s", seconds=3600),
    Case("404", "M001", "answers 404"),
    Case("reset", "M001", "broke off"),
    Case("html", "M002", "not what MAST answers"),
    Case("nonsense", "M002", "no column"),
    Case("stalled", "M001", "in time"),
    Case("slow", "M001", "no whole answer came"),
)


@pytest.mark.parametrize("case", LISTING, ids=lambda case: f"{case.name}-{case.code or 'heals'}")
def test_a_failing_list_ends_in_time_and_names_the_server(
    case: Case, demo: Dataset, recipe: LoadedRecipe, tmp_path: Path
) -> None:
    with serve_failing(demo.data) as server:
        environment = surroundings(server, tmp_path / "store")
        environment = Environment(**{**vars(environment), "deadline": 15.0})
        server.fail("post_list_products", case.kind, case.times, case.seconds)
        began = time.monotonic()
        if case.code:
            with pytest.raises(ArchiveError) as caught:
                find_exposures(recipe, environment)
            assert caught.value.code == case.code
            assert case.text in str(caught.value)
            assert server.url in str(caught.value)
            assert caught.value.hint
        else:
            assert len(find_exposures(recipe, environment).exposures) == 2
        assert time.monotonic() - began < 4
        server.mend()
        assert len(find_exposures(recipe, environment).exposures) == 2


def test_nobody_at_the_address_is_said_at_once(recipe: LoadedRecipe, tmp_path: Path) -> None:
    environment = Environment(
        mast_server="http://127.0.0.1:9", downloads=str(tmp_path / "store"), patience=HASTY, deadline=DEADLINE
    )
    with pytest.raises(ArchiveError, match="refused") as caught:
        find_exposures(recipe, environment)
    assert "--offline" in str(caught.value.hint)


PLANNING = (
    Case("no-range", "M007", "whole files only"),
    Case("lying-part", "M005", "the server says that it sends 1000 to 1099"),
    Case("500", "M005", "answers 500"),
    Case("stalled", "M007", "whole files only"),
    Case("401", "M003", "not public"),
    Case("404", "M004", "answers 404"),
    Case("html", "M005", "a page instead of the file"),
)


@pytest.mark.parametrize("case", PLANNING, ids=lambda case: f"{case.kind}-{case.code}")
def test_headers_that_can_not_be_read_from_afar_are_an_error_of_the_plan_with_a_way_out(
    case: Case, demo: Dataset, recipe: LoadedRecipe, tmp_path: Path
) -> None:
    with serve_failing(demo.data) as server:
        environment = surroundings(server, tmp_path / "store")
        server.fail(BAD, case.kind)
        found = find_exposures(recipe, environment)
        wrong = [one for one in found.observed if one.severity == "error"]
        assert [one.code for one in wrong] == [case.code]
        assert case.text in wrong[0].message
        assert [one.rootname for one in found.exposures] == ["j9l960a9q"]
        if case.code == "M007":
            assert "acsrecipe fetch" in wrong[0].hint
            # The whole file was not read just to be thrown away.
            assert server.bytes_sent < 300_000
        server.mend()
        assert len(find_exposures(recipe, environment).exposures) == 2


def wanted(server: FailingServer, name: str = BAD, **more: object) -> Wanted:
    source = f"{server.url}/search/hst/api/v0.1/retrieve_product?product_name={name[:9].upper()}%2F{name}"
    return Wanted(name, source, server.files[name].stat().st_size, **more)  # type: ignore[arg-type]


def settings(server: FailingServer) -> MastSettings:
    return MastSettings(server=server.url, patience=HASTY, deadline=DEADLINE)


def test_a_version_that_changes_between_two_tries_is_never_glued_to_the_other(demo: Dataset, tmp_path: Path) -> None:
    with serve_failing(demo.data) as server:
        first = server.files[BAD].read_bytes()
        server.fail(BAD, "changing", times=1)
        kept = fetch(wanted(server), settings(server), Store(tmp_path), None)
        second = server.files[BAD].read_bytes()
        server.files[BAD].unlink()
        assert first != second
        assert kept.sha256 == hashlib.sha256(second).hexdigest()


def test_a_part_of_another_version_is_thrown_away(demo: Dataset, tmp_path: Path) -> None:
    with serve_failing(demo.data) as server:
        server.fail(BAD, "short", times=3)
        with pytest.raises(ArchiveError, match="broke off"):
            fetch(wanted(server), settings(server), Store(tmp_path), None)
        server.fail(BAD, "part-of-another", times=1)
        kept = fetch(wanted(server), settings(server), Store(tmp_path), None)
        assert kept.sha256 == hashlib.sha256((demo.data / BAD).read_bytes()).hexdigest()


def test_a_file_that_is_not_the_one_the_plan_saw_is_refused_by_name(demo: Dataset, tmp_path: Path) -> None:
    with serve_failing(demo.data) as server, pytest.raises(IntegrityError, match="changed in the archive") as caught:
        fetch(wanted(server, seen="0" * 64), settings(server), Store(tmp_path), None)
    assert caught.value.code == "M010"
    assert "plan" in str(caught.value.hint)


def test_no_fault_is_answered_with_an_unexplained_error(demo: Dataset, tmp_path: Path) -> None:
    """Every kind of fault that is known, on a bare download: an error of ours, or the true file."""
    kinds = sorted({case.kind for case in CASES} - {"slow", "stalled"})
    with serve_failing(demo.data) as server:
        true = hashlib.sha256((demo.data / BAD).read_bytes()).hexdigest()
        for number, kind in enumerate(kinds):
            server.fail(BAD, kind)
            store = Store(tmp_path / str(number))
            told, digest = "", ""
            try:
                digest = fetch(wanted(server), settings(server), store, None).sha256
            except AcsRecipeError as error:
                told = f"{error} {error.hint and 'hinted'}"
            assert digest == true or (BAD in told and told.endswith("hinted")), kind
