"""Listing, looking from afar, and what is trusted of the server: astroquery's own client against the stand-in."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standins.mast_server import FailingServer, serve_failing

from acsrecipe.demo.dataset import Dataset, make_dataset
from acsrecipe.errors import ArchiveError
from acsrecipe.inputs.crds_cache import Patience
from acsrecipe.inputs.header import read_headers
from acsrecipe.inputs.mast import Mast
from acsrecipe.inputs.store import Store
from acsrecipe.inputs.survey import survey
from acsrecipe.inputs.wire import MastSettings, origin

HASTY = Patience(connect=1.0, silence=1.0, attempts=2, backoff=0.02, longest_wait=1.0, lock=3.0)
TOKEN = "s3cr3t-t0ken-of-the-test"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_dataset(tmp_path_factory.mktemp("demo") / "d", exposures=2)


@pytest.fixture
def server(demo: Dataset) -> Iterator[FailingServer]:
    with serve_failing(demo.data) as serving:
        yield serving


def open_mast(server: FailingServer, root: Path, **options: object) -> closing[Mast]:
    settings = MastSettings(
        server=server.url, patience=HASTY, deadline=20.0, offline=bool(options.pop("offline", False))
    )
    return closing(Mast(settings, Store(root), **options))  # type: ignore[arg-type]


def test_headers_from_afar_are_those_of_the_file_at_a_fraction_of_its_bytes(
    server: FailingServer, demo: Dataset, tmp_path: Path
) -> None:
    with open_mast(server, tmp_path) as mast:
        (raw,) = [one for one in mast.list_products(["J9L960A7Q"]) if one.suffix == "raw"]
        assert mast.headers(raw) == read_headers(demo.data / raw.name)
        asked = [span for _, path, span in server.requests if "a7q_raw" in path]
    assert len(asked) == 3
    assert all(span.startswith("bytes=") for span in asked)
    assert server.bytes_sent < 80_000


def test_an_association_brings_its_members_and_one_question_lists_them_all(
    server: FailingServer, tmp_path: Path
) -> None:
    with open_mast(server, tmp_path) as mast:
        mast.look_ahead(["J9L960010"])
        found = survey(mast, ["J9L960010"])
    assert [one.rootname for one in found.exposures] == ["j9l960a7q", "j9l960a9q"]
    assert [one.association for one in found.exposures] == ["j9l960010", "j9l960010"]
    assert server.asked("post_list_products") == 1
    assert server.asked("/search/hst/api/v0.1/search") == 0
    first = found.exposures[0].raw
    assert (first.path, first.sha256) == ("mast:HST/product/j9l960a7q_raw.fits", "")
    assert first.source.startswith(f"{server.url}/search/hst/api/v0.1/retrieve_product?product_name=J9L960A7Q%2F")
    assert len(first.seen) == 64


def test_a_member_that_is_no_dataset_of_its_own_is_found_through_its_visit(
    server: FailingServer, tmp_path: Path
) -> None:
    with open_mast(server, tmp_path) as mast:
        names = [one.name for one in mast.list_products(["j9l960a9q"])]
    assert names == ["j9l960a9q_raw.fits", "j9l960a9q_spt.fits"]


def test_wildcards_stand_for_exposures_too_and_a_proposal_narrows_them(server: FailingServer, tmp_path: Path) -> None:
    with open_mast(server, tmp_path, proposal=10775) as mast:
        assert {one.rootname for one in mast.list_products(["J9L960A?Q"])} == {"j9l960a7q", "j9l960a9q"}
        assert len(survey(mast, ["J9L9*"]).exposures) == 2
    with open_mast(server, tmp_path, proposal=99999) as mast:
        assert mast.list_products(["J9L9*"]) == ()


def test_a_name_that_is_not_there_is_suggested_and_no_error_of_the_network(
    server: FailingServer, tmp_path: Path
) -> None:
    with open_mast(server, tmp_path) as mast:
        found = survey(mast, ["J9L960A8Q"])
    assert [one.code for one in found.observed] == ["I020"]
    assert "j9l960a7q" in found.observed[0].hint


def test_what_was_downloaded_is_used_while_the_archive_has_the_same(server: FailingServer, tmp_path: Path) -> None:
    with open_mast(server, tmp_path, whole=True) as mast:
        first = survey(mast, ["J9L960010"])
    server.forget()
    with open_mast(server, tmp_path) as mast:
        again = survey(mast, ["J9L960010"])
    assert again.exposures[0].raw.sha256 == first.exposures[0].raw.sha256 != ""
    assert again.exposures[0].raw.source == ""
    assert {span for _, path, span in server.requests if "_raw" in path} == {"bytes=0-2879"}
    # Now the archive delivers another version, of the same size.
    content = server.files["j9l960a7q_raw.fits"].read_bytes()
    at = content.index(b"DATE    =")
    server.change("j9l960a7q_raw.fits", content[at : at + 20], content[at : at + 20].replace(b"2006", b"2016"))
    with open_mast(server, tmp_path) as mast:
        renewed = survey(mast, ["J9L960010"])
    server.files["j9l960a7q_raw.fits"].unlink()
    assert renewed.exposures[0].raw.sha256 == ""
    assert renewed.exposures[0].raw.seen != first.exposures[0].raw.seen
    assert renewed.exposures[1].raw.sha256 == first.exposures[1].raw.sha256


def test_a_download_that_rotted_on_disk_is_put_aside_and_wanted_again(server: FailingServer, tmp_path: Path) -> None:
    with open_mast(server, tmp_path, whole=True) as mast:
        first = survey(mast, ["J9L960010"]).exposures[0].raw
    path = Store(tmp_path).path(first.sha256)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(100_000)
        file.write(b"rot")
    with open_mast(server, tmp_path) as mast:
        assert survey(mast, ["J9L960010"]).exposures[0].raw.sha256 == ""
    assert [one.name.startswith("j9l960a7q_raw.fits") for one in (tmp_path / "quarantine").iterdir()] == [True]


def test_offline_nothing_is_asked_and_what_is_missing_is_named(server: FailingServer, tmp_path: Path) -> None:
    with open_mast(server, tmp_path, whole=True) as mast:
        survey(mast, ["J9L960010"])
    server.forget()
    with open_mast(server, tmp_path, offline=True) as mast:
        assert len(survey(mast, ["J9L960010"]).exposures) == 2
    with open_mast(server, tmp_path / "empty", offline=True) as mast:
        found = survey(mast, ["J9L960010"])
    assert [one.code for one in found.observed] == ["I020"]
    assert "--offline" in found.observed[0].hint
    assert server.requests == []


def test_exclusive_data_are_refused_before_anything_is_downloaded(server: FailingServer, tmp_path: Path) -> None:
    server.exclusive = {"J9L960A7Q"}
    with open_mast(server, tmp_path) as mast:
        found = survey(mast, ["J9L960010"])
    assert [(one.code, one.file) for one in found.observed if one.severity == "error"] == [
        ("M003", "mast:HST/product/j9l960a7q_raw.fits")
    ]
    assert "MAST_API_TOKEN" in found.observed[0].hint
    assert not server.asked("j9l960a7q_raw")


def test_the_token_is_asked_for_and_sent_only_where_it_is_needed(server: FailingServer, tmp_path: Path) -> None:
    asked: list[str] = []

    def ask() -> str:
        asked.append("once")
        return TOKEN

    with open_mast(server, tmp_path, ask_token=ask) as mast:
        survey(mast, ["J9L960010"])
    assert asked == []
    server.exclusive, server.token = {"J9L960A7Q"}, TOKEN
    with open_mast(server, tmp_path, ask_token=ask) as mast:
        found = survey(mast, ["J9L960010"])
    assert len(found.exposures) == 2
    assert found.exposures[0].raw.exclusive
    assert asked == ["once"]
    sent = {path.rpartition("%2F")[2] for path, cookie in server.cookies if TOKEN in cookie}
    assert sent == {"j9l960a7q_raw.fits"}
    assert TOKEN not in repr(mast.settings) + repr(found)


def test_a_token_never_follows_a_redirect_to_another_server(
    server: FailingServer, demo: Dataset, tmp_path: Path
) -> None:
    server.exclusive, server.token = {"J9L960A7Q"}, TOKEN
    with serve_failing(demo.data) as other:
        server.elsewhere = other.url
        server.fail("j9l960a7q_raw.fits", "redirect-elsewhere")
        with open_mast(server, tmp_path, ask_token=lambda: TOKEN) as mast:
            survey(mast, ["J9L960010"])
        assert other.asked("j9l960a7q_raw") > 0
        assert all(cookie == "" for _, cookie in other.cookies)


def test_a_wrong_token_is_told_from_none(server: FailingServer, tmp_path: Path) -> None:
    server.exclusive, server.token = {"J9L960A7Q"}, TOKEN
    with open_mast(server, tmp_path, ask_token=lambda: "expired") as mast:
        (wrong,) = [one for one in survey(mast, ["J9L960010"]).observed if one.severity == "error"]
    assert "the token does not give access" in wrong.message
    assert "expired" not in wrong.message + wrong.hint


HOSTILE = (
    "../../x_raw.fits",
    "/etc/passwd",
    "..",
    "j9l960a7q_raw.fits\0.exe",
    "j9l960a7q_raw.fits\n",
    "-v",
    "con.fits",
    "J9L960A7Q_RAW.FITS",
    "j9l960a7q_raw.fits/../../y",
    "j" * 300 + "_raw.fits",
    "j9l960\u0430" + "7q_raw.fits",  # a Cyrillic a
    "u9l960a7q_raw.fits",
)


def entry(name: str, uri: str = "J9L960A7Q/j9l960a7q_raw.fits") -> dict[str, object]:
    return {"filename": name, "uri": uri, "size": 10, "access": "PUBLIC", "dataset": "J9L960010"}


def test_hostile_names_are_no_products(server: FailingServer, tmp_path: Path) -> None:
    server.more_products = [entry(name) for name in HOSTILE] + [
        entry("j9l960aaq_raw.fits", "x\ny"),
        entry("j9l960abq_raw.fits", "u" * 400),
    ]
    with open_mast(server, tmp_path / "in" / "store", whole=True) as mast:
        found = survey(mast, ["J9L960010"])
        listed = {one.name for one in mast.list_products(["*"])}
    assert len(found.exposures) == 2
    assert listed <= {f"j9l960{one}.fits" for one in ("010_asn", "a7q_raw", "a7q_spt", "a9q_raw", "a9q_spt")}
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["store"]


def test_an_address_from_the_list_stays_a_question_to_the_same_server(server: FailingServer, tmp_path: Path) -> None:
    server.more_products = [entry("j9l960a0q_raw.fits", "http://evil.example/x&product_name=y#z")]
    with open_mast(server, tmp_path) as mast:
        mast.look_ahead(["J9L960010"])
        (product,) = [one for one in mast.list_products(["J9L960A0Q"]) if one.suffix == "raw"]
        with pytest.raises(ArchiveError):
            mast.headers(product)
    assert origin(product.address) == origin(server.url)
    assert "&product_name" not in product.address
    assert "#" not in product.address


@given(name=st.text(max_size=40))
def test_no_text_from_a_list_becomes_a_path(name: str) -> None:
    from astropy.table import Table

    from acsrecipe.inputs.missions import Missions

    table = Table({key: [value] for key, value in entry(name).items()})
    for one in Missions(MastSettings())._read(table):
        assert one.name == name.strip()
        assert "/" not in one.name
        assert one.name.isascii()


def test_sums_of_the_delivered_file_and_of_what_is_kept_agree(
    server: FailingServer, demo: Dataset, tmp_path: Path
) -> None:
    with open_mast(server, tmp_path / "store") as mast:
        (raw,) = [one for one in mast.list_products(["J9L960A7Q"]) if one.suffix == "raw"]
        digest = mast.fetch(raw, tmp_path / "copy.fits")
    assert digest == hashlib.sha256((demo.data / raw.name).read_bytes()).hexdigest()
    assert (tmp_path / "copy.fits").read_bytes() == (demo.data / raw.name).read_bytes()


def test_closing_ends_what_is_under_way_and_keeps_what_has_come(server: FailingServer, tmp_path: Path) -> None:
    server.rate = 50_000
    with open_mast(server, tmp_path, whole=True) as mast:
        mast.look_ahead(["J9L960010"])
        time.sleep(0.5)
        began = time.monotonic()
    mast._pool.shutdown(wait=True)
    assert time.monotonic() - began < 2
    assert not (tmp_path / "objects").exists() or not list((tmp_path / "objects").rglob("*.part"))
    assert len(list((tmp_path / "partial").rglob("*_raw.fits.json"))) == 2
