"""A folder as archive: what is found by which name, and what is said of the rest."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from acsrecipe import files
from acsrecipe.errors import ArchiveError, PlanError
from acsrecipe.inputs.archive import Archive, Found, LocalFolder
from acsrecipe.inputs.header import stage_edited

ASN = b"".join(
    f"{card:80}".encode("ascii")
    for card in (
        "XTENSION= 'BINTABLE'",
        "BITPIX  =                    8",
        "NAXIS   =                    2",
        "NAXIS1  =                   29",
        "NAXIS2  =                    {rows:d}",
        "PCOUNT  =                    0",
        "GCOUNT  =                    1",
        "TFIELDS =                    3",
        "TTYPE1  = 'MEMNAME '",
        "TFORM1  = '14A     '",
        "TTYPE2  = 'MEMTYPE '",
        "TFORM2  = '14A     '",
        "TTYPE3  = 'MEMPRSNT'",
        "TFORM3  = 'L       '",
        "EXTNAME = 'ASN     '",
        "END",
    )
)


def _header(*cards: str) -> bytes:
    text = "".join(f"{card:80}" for card in (*cards, "END"))
    return text.ljust(-(-len(text) // 2880) * 2880).encode("ascii")


def _primary(*cards: str) -> bytes:
    return _header(
        "SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   =                    0", *cards
    )


def _raw(rootname: str, *, instrument: str = "ACS", proposal: int = 9999, switch: str = "PERFORM") -> bytes:
    first = _primary(
        f"INSTRUME= '{instrument}'", f"ROOTNAME= '{rootname}'", f"PROPOSID= {proposal}", f"DQICORR = '{switch}'"
    )
    science = _header(
        "XTENSION= 'IMAGE   '",
        "BITPIX  =                   16",
        "NAXIS   =                    1",
        "NAXIS1  =                   10",
        "PCOUNT  =                    0",
        "GCOUNT  =                    1",
        "EXTNAME = 'SCI     '",
        "EXTVER  =                    1",
    )
    return first + science + rootname.encode().ljust(2880)


def _asn(*rows: tuple[str, str, bool]) -> bytes:
    first = _primary("INSTRUME= 'ACS'", "DETECTOR= 'WFC'")
    table = ASN.replace(b"{rows:d}", str(len(rows)).encode().ljust(8)).ljust(2880)
    data = b"".join(f"{name:14}{kind:14}{'T' if there else 'F'}".encode() for name, kind, there in rows)
    return first + table + data.ljust(2880, b"\0")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two dithered exposures and their association, and one exposure that belongs to none."""
    data = tmp_path / "data"
    data.mkdir()
    for root in ("j9l960a7q", "j9l960a9q", "j9xx01abq"):
        (data / f"{root}_raw.fits").write_bytes(_raw(root))
        (data / f"{root}_spt.fits").write_bytes(_primary("INSTRUME= 'ACS'"))
    rows = ("J9L960A7Q", "EXP-DTH", True), ("J9L960A9Q", "EXP-DTH", True), ("J9L960010", "PROD-DTH", False)
    (data / "j9l960010_asn.fits").write_bytes(_asn(*rows))
    return data


def _find(folder: Path, *ids: str, **more: object) -> Found:
    return LocalFolder(folder, shown_as="data").find(ids, **more)  # type: ignore[arg-type]


def _summary(found: Found) -> list[tuple[str, str, str]]:
    return [(one.rootname, one.association, one.memtype) for one in found.exposures]


def _seen(found: Found) -> list[tuple[str, str, str]]:
    return [(one.code, one.severity, one.file) for one in found.observed]


def test_an_association_brings_its_members_in_the_order_of_its_rows(folder: Path) -> None:
    found = _find(folder, "J9L960010")
    assert _summary(found) == [("j9l960a7q", "j9l960010", "EXP-DTH"), ("j9l960a9q", "j9l960010", "EXP-DTH")]
    assert [one.rootname for one in found.associations] == ["j9l960010"]
    assert found.observed == ()


def test_files_are_shown_as_the_recipe_names_them_with_size_and_hash(folder: Path) -> None:
    found = _find(folder, "J9L960010")
    first = found.exposures[0]
    assert first.raw.path == "data/j9l960a7q_raw.fits"
    assert first.raw.size == (folder / "j9l960a7q_raw.fits").stat().st_size
    assert first.raw.sha256 == files.sha256_file(folder / "j9l960a7q_raw.fits")
    assert first.spt is not None
    assert first.spt.sha256 == files.sha256_file(folder / "j9l960a7q_spt.fits")
    assert found.associations[0].file.sha256 == files.sha256_file(folder / "j9l960010_asn.fits")
    assert first.primary["INSTRUME"] == "ACS"
    assert [hdu.name for hdu in first.hdus] == ["PRIMARY", "SCI"]


def test_nothing_is_hashed_where_that_is_not_asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "sha256_file", lambda path: pytest.fail(f"hashed {path}"))
    found = _find(folder, "J9L960010", with_hashes=False)
    assert [one.raw.sha256 for one in found.exposures] == ["", ""]


@pytest.mark.parametrize(
    ("ids", "roots", "associations"),
    [
        (["J9XX01ABQ"], ["j9xx01abq"], []),
        (["j9xx01abq"], ["j9xx01abq"], []),
        (["J9L960A7Q"], ["j9l960a7q"], []),
        (["J9L960A?Q"], ["j9l960a7q", "j9l960a9q"], []),
        (["J9L96*"], ["j9l960a7q", "j9l960a9q"], ["j9l960010"]),
        (["*"], ["j9l960a7q", "j9l960a9q", "j9xx01abq"], ["j9l960010"]),
        ([], ["j9l960a7q", "j9l960a9q", "j9xx01abq"], ["j9l960010"]),
        (["J9XX01ABQ", "J9L960010", "J9L960010"], ["j9xx01abq", "j9l960a7q", "j9l960a9q"], ["j9l960010"]),
    ],
)
def test_ids_are_rootnames_and_wildcards_in_any_case(
    folder: Path, ids: list[str], roots: list[str], associations: list[str]
) -> None:
    found = _find(folder, *ids)
    assert [one.rootname for one in found.exposures] == roots
    assert [one.rootname for one in found.associations] == associations
    assert found.observed == ()


def test_an_exposure_named_alone_and_by_its_association_belongs_to_the_association(folder: Path) -> None:
    found = _find(folder, "J9L960A9Q", "J9L960010")
    assert _summary(found) == [("j9l960a9q", "j9l960010", "EXP-DTH"), ("j9l960a7q", "j9l960010", "EXP-DTH")]


@pytest.mark.parametrize(
    ("wanted", "hint"),
    [
        ("J9L960011", "did you mean j9l960010?"),
        ("J8AA00010", "data has j9l960010, j9l960a7q, j9l960a9q, j9xx01abq"),
        ("J8*", "data has j9l960010, j9l960a7q, j9l960a9q, j9xx01abq"),
    ],
)
def test_a_name_that_is_not_there_is_answered_with_what_is(folder: Path, wanted: str, hint: str) -> None:
    (seen,) = _find(folder, wanted).observed
    assert (seen.code, seen.severity) == ("I020", "error")
    assert wanted in seen.message
    assert seen.hint.startswith(hint)


@pytest.mark.parametrize("name", ["j9zz01abq_raw.fits.gz", "J9ZZ01ABQ_RAW.FITS", "j9zz01abq_raw.fit"])
def test_a_file_that_only_its_spelling_hides_is_named(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"x")
    (seen,) = _find(folder, "J9ZZ01ABQ").observed
    assert seen.hint == f"there is {name}: unpack or rename it to j9zz01abq_raw.fits"


def test_products_of_another_kind_are_not_taken_for_raw(folder: Path) -> None:
    (folder / "j9zz01abq_flt.fits").write_bytes(_raw("j9zz01abq"))
    (seen,) = _find(folder, "J9ZZ01ABQ").observed
    assert seen.message == "J9ZZ01ABQ is not in the archive as RAW or ASN: found only j9zz01abq_flt.fits"


def test_a_missing_member_is_an_error_unless_its_row_goes(folder: Path) -> None:
    (folder / "j9l960a9q_raw.fits").rename(folder / "j9l960a9q_raw.fits.gz")
    found = _find(folder, "J9L960010")
    assert [one.rootname for one in found.exposures] == ["j9l960a7q"]
    (seen,) = found.observed
    assert (seen.code, seen.severity, seen.file) == ("A009", "error", "data/j9l960010_asn.fits")
    assert seen.message == "J9L960A9Q in row 2 (EXP-DTH) has no RAW file: expected j9l960a9q_raw.fits"
    assert "gz" in seen.hint
    assert _find(folder, "J9L960010", drop={"MEMNAME": ("J9L960A9Q",)}).observed == ()


def test_rows_that_go_stay_in_the_association_and_their_exposures_are_left_out(folder: Path) -> None:
    found = _find(folder, "J9L96*", keep={"MEMTYPE": ("EXP-DTH",)}, drop={"MEMNAME": ("J9L960A9Q",)})
    assert [one.rootname for one in found.exposures] == ["j9l960a7q"]
    assert [one.row for one in found.associations[0].members] == [1, 2, 3]


def test_a_row_that_is_not_present_brings_no_exposure(folder: Path) -> None:
    rows = ("J9L960A7Q", "EXP-DTH", True), ("J9L960A9Q", "EXP-DTH", False)
    (folder / "j9l960010_asn.fits").write_bytes(_asn(*rows))
    found = _find(folder, "J9L960010")
    assert [one.rootname for one in found.exposures] == ["j9l960a7q"]
    assert _seen(found) == [("A008", "warning", "data/j9l960010_asn.fits")]


def test_an_exposure_of_two_associations_is_an_error(folder: Path) -> None:
    (folder / "j9l960020_asn.fits").write_bytes(_asn(("J9L960A7Q", "EXP-DTH", True)))
    found = _find(folder, "J9L960010", "J9L960020")
    assert _seen(found) == [("I025", "error", "data/j9l960a7q_raw.fits")]
    assert "both j9l960010 and j9l960020" in found.observed[0].message


def test_other_instruments_calibrated_and_misnamed_files_are_named(folder: Path) -> None:
    (folder / "j9xx01abq_raw.fits").write_bytes(_raw("j9xx01abq", instrument="WFC3"))
    (folder / "j9l960a7q_raw.fits").write_bytes(_raw("j9l960a7q", switch="COMPLETE"))
    (folder / "j9l960a9q_raw.fits").write_bytes(_raw("j9l960a8q"))
    found = _find(folder, "*")
    assert sorted(_seen(found)) == [
        ("I021", "error", "data/j9xx01abq_raw.fits"),
        ("I022", "error", "data/j9l960a7q_raw.fits"),
        ("I024", "warning", "data/j9l960a9q_raw.fits"),
    ]
    assert "j9xx01abq" not in [one.rootname for one in found.exposures]
    assert "found INSTRUME = WFC3, expected INSTRUME = ACS" in " ".join(one.message for one in found.observed)


def test_a_raw_without_pixels_is_named(folder: Path) -> None:
    (folder / "j9xx01abq_raw.fits").write_bytes(_primary("INSTRUME= 'ACS'"))
    (seen,) = _find(folder, "J9XX01ABQ").observed
    assert (seen.code, seen.message) == ("I022", "has no SCI extension: found PRIMARY, expected the HDUs of a RAW file")


def test_a_missing_spt_is_a_note_only_where_spt_was_asked_for(folder: Path) -> None:
    (folder / "j9xx01abq_spt.fits").unlink()
    found = _find(folder, "J9XX01ABQ")
    assert found.exposures[0].spt is None
    assert _seen(found) == [("I023", "note", "data/j9xx01abq_raw.fits")]
    assert _find(folder, "J9XX01ABQ", products=("RAW",)).observed == ()
    assert _find(folder, "J9L960A7Q", products=("RAW",)).exposures[0].spt is None


def test_exposures_of_other_proposals_are_left_out_with_a_note(folder: Path) -> None:
    (folder / "j9l960a9q_raw.fits").write_bytes(_raw("j9l960a9q", proposal=1234))
    found = _find(folder, proposal=1234)
    assert [one.rootname for one in found.exposures] == ["j9l960a9q"]
    assert {one.code for one in found.observed} == {"I028"}


@pytest.mark.parametrize(
    "layout", ["J9L960010", "HST/J9L960010", "mastDownload/HST/j9l960010", "mastDownload/hst/J9L960010"]
)
def test_folders_as_mast_delivers_them_are_looked_into(folder: Path, layout: str) -> None:
    inner = folder / layout
    inner.mkdir(parents=True)
    for path in list(folder.glob("*.fits")):
        path.rename(inner / path.name)
    found = _find(folder, "J9L960010")
    assert [one.raw.path for one in found.exposures] == [
        f"data/{layout}/j9l960a7q_raw.fits",
        f"data/{layout}/j9l960a9q_raw.fits",
    ]


def test_other_folders_are_not_looked_into(folder: Path) -> None:
    inner = folder / "out" / "work"
    inner.mkdir(parents=True)
    (inner / "j9zz01abq_raw.fits").write_bytes(_raw("j9zz01abq"))
    assert [one.code for one in _find(folder, "J9ZZ01ABQ").observed] == ["I020"]


def test_equal_copies_count_once_and_different_ones_are_refused(folder: Path) -> None:
    inner = folder / "J9L960A7Q"
    inner.mkdir()
    shutil.copy(folder / "j9l960a7q_raw.fits", inner)
    found = _find(folder, "J9L960A7Q")
    assert [one.raw.path for one in found.exposures] == ["data/j9l960a7q_raw.fits"]
    assert found.observed == ()
    (inner / "j9l960a7q_raw.fits").write_bytes(_raw("j9l960a7q", proposal=1))
    found = _find(folder, "J9L960A7Q")
    assert found.exposures == ()
    assert _seen(found) == [("I027", "error", "data/j9l960a7q_raw.fits")]
    assert "j9l960a7q_raw.fits, J9L960A7Q/j9l960a7q_raw.fits" in found.observed[0].message


def test_every_wrong_file_is_reported_at_once(folder: Path) -> None:
    (folder / "j9l960a7q_raw.fits").write_bytes(b"")
    (folder / "j9l960a9q_raw.fits").write_bytes(b"<!DOCTYPE html><html>")
    (folder / "j9xx01abq_raw.fits").write_bytes(_raw("j9xx01abq")[:-2880])
    (folder / "j9xx01abq_spt.fits").write_bytes(b"\x1f\x8b packed")
    (folder / "j9l960020_asn.fits").write_bytes(_asn()[:2880])
    found = _find(folder, "*")
    assert found.exposures == ()
    assert {(one.code, one.file) for one in found.observed} == {
        ("I003", "data/j9l960a7q_raw.fits"),
        ("I005", "data/j9l960a9q_raw.fits"),
        ("I007", "data/j9xx01abq_raw.fits"),
        ("A001", "data/j9l960020_asn.fits"),
    }


def test_a_broken_spt_is_an_error_of_its_own(folder: Path) -> None:
    (folder / "j9xx01abq_spt.fits").write_bytes(b"\x1f\x8b packed")
    found = _find(folder, "J9XX01ABQ")
    assert [one.rootname for one in found.exposures] == ["j9xx01abq"]
    assert _seen(found) == [("I004", "error", "data/j9xx01abq_spt.fits")]


def test_a_flipped_bit_is_named_where_the_file_has_checksums(folder: Path) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    path = folder / "j9xx01abq_raw.fits"
    with fits.open(path) as hdus:
        hdus.writeto(folder / "summed.fits", checksum=True)
    (folder / "summed.fits").replace(path)
    assert _find(folder, "J9XX01ABQ").observed == ()
    content = bytearray(path.read_bytes())
    content[-2880] ^= 1
    path.write_bytes(content)
    (seen,) = _find(folder, "J9XX01ABQ").observed
    assert (seen.code, seen.severity, seen.file) == ("I012", "error", "data/j9xx01abq_raw.fits")
    assert "the CHECKSUM of SCI,1 does not hold" in seen.message
    assert _find(folder, "J9XX01ABQ", with_hashes=False).observed == ()


def test_a_dangling_link_is_named(folder: Path) -> None:
    (folder / "j9zz01abq_raw.fits").symlink_to("nowhere")
    assert _seen(_find(folder, "J9ZZ01ABQ")) == [("I001", "error", "data/j9zz01abq_raw.fits")]


@pytest.mark.parametrize("name", ["absent", "file"])
def test_a_folder_that_is_none_is_named_as_the_recipe_has_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(ArchiveError, match=r"can't be read as a folder of exposures") as error:
        LocalFolder(tmp_path / name, shown_as="my/data").find(["*"])
    assert (error.value.where, error.value.code) == ("my/data", "I026")


def test_looking_changes_nothing_in_the_folder(folder: Path) -> None:
    before = {path.name: (path.stat().st_mtime_ns, files.sha256_file(path)) for path in folder.iterdir()}
    folder.chmod(0o555)
    try:
        _find(folder, "*")
    finally:
        folder.chmod(0o755)
    assert {path.name: (path.stat().st_mtime_ns, files.sha256_file(path)) for path in folder.iterdir()} == before


def test_fetching_gives_a_checked_copy(folder: Path, tmp_path: Path) -> None:
    archive: Archive = LocalFolder(folder, shown_as="data")
    (raw, spt) = archive.list_products(["J9XX01ABQ"])
    assert (raw.name, spt.name) == ("j9xx01abq_raw.fits", "j9xx01abq_spt.fits")
    digest = archive.fetch(raw, tmp_path / raw.name)
    assert digest == files.sha256_file(tmp_path / raw.name) == files.sha256_file(folder / raw.name)
    with (folder / raw.name).open("ab") as file:
        file.write(b"junk")
    with pytest.raises(PlanError, match="no extension"):
        archive.fetch(raw, tmp_path / "again.fits")
    assert not (tmp_path / "again.fits").exists()


def test_golden_associations_are_found_whole(shared_dir: Path) -> None:
    for name, count in {"pre_dth": 2, "post_dth": 2, "pre_cr": 2, "post_sub2k": 1, "pre_sub": 1}.items():
        found = _find(shared_dir / "golden" / name / "data", "J9SY01010")
        assert found.observed == ()
        assert len(found.exposures) == count
        assert {one.association for one in found.exposures} == {"j9sy01010"}
        assert all(one.spt and one.raw.sha256 for one in found.exposures)


def test_real_raws_are_found_by_wildcard(shared_dir: Path) -> None:
    found = _find(shared_dir / "real" / "raw_hrc", "J8BT*")
    assert [one.rootname for one in found.exposures] == ["j8bt05njq", "j8bt06o6q", "j8bt09jcq"]
    assert {one.primary["DETECTOR"] for one in found.exposures} == {"HRC"}
    assert {one.code for one in found.observed} == {"I023"}


def test_a_staged_and_edited_raw_is_found_as_the_delivered_one_is(folder: Path, tmp_path: Path) -> None:
    staged = tmp_path / "staged"
    staged.mkdir()
    stage_edited(folder / "j9xx01abq_raw.fits", staged / "j9xx01abq_raw.fits", [("PRIMARY", "DQICORR", "OMIT")])
    (found,) = _find(staged, "J9XX01ABQ", products=("RAW",)).exposures
    assert found.primary["DQICORR"] == "OMIT"
