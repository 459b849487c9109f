"""Association tables: what calacs would stumble over is said before, and only rows ever change."""

from __future__ import annotations

import shutil
import subprocess
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acsrecipe import files
from acsrecipe.errors import OutputError, PlanError
from acsrecipe.inputs.association import (
    check_association,
    filter_members,
    group_members,
    members_that_disagree,
    read_association,
    rows_of_group,
    write_filtered,
)
from acsrecipe.inputs.header import read_headers, stage_edited
from acsrecipe.inputs.members import matches
from acsrecipe.inputs.model import Association, FileIdentity, Member

GOLDEN = {
    "pre_dth": ["EXP-DTH", "EXP-DTH", "PROD-DTH"],
    "post_dth": ["EXP-DTH", "EXP-DTH", "PROD-DTH"],
    "pre_cr": ["EXP-CRJ", "EXP-CRJ", "PROD-CRJ"],
    "post_sub2k": ["EXP-DTH", "PROD-DTH"],
    "pre_sub": ["EXP-DTH", "PROD-DTH"],
}
Row = tuple[str, str, bool]


def _rows(text: str) -> list[Row]:
    """Read ``A1 EXP-DTH, A2 EXP-DTH F, 010 PROD-DTH`` as rows of the association J9SY01010."""
    rows = []
    for part in filter(None, text.split(",")):
        name, kind, *present = part.split()
        full = {2: f"J9SY01{name}Q", 3: f"J9SY01{name}"}.get(len(name), name)
        rows.append((full, kind, present != ["F"]))
    return rows


def _association(text: str) -> Association:
    members = tuple(Member(number, *row) for number, row in enumerate(_rows(text), 1))
    return Association("j9sy01010", FileIdentity("data/j9sy01010_asn.fits", 0), members)


def _codes(text: str) -> list[str]:
    association = _association(text)
    return [one.code for one in check_association(association, association.members)]


def _write(path: Path, rows: Sequence[Row], *, checksum: bool = False, **primary: object) -> Path:
    fits = pytest.importorskip("astropy.io.fits")
    columns = [
        fits.Column("MEMNAME", "14A", array=[row[0] for row in rows]),
        fits.Column("MEMTYPE", "14A", array=[row[1] for row in rows]),
        fits.Column("MEMPRSNT", "L", array=[row[2] for row in rows]),
    ]
    header = {"INSTRUME": "ACS", "DETECTOR": "WFC"} | primary
    first = fits.PrimaryHDU(header=fits.Header({k: v for k, v in header.items() if v is not None}))
    table = fits.BinTableHDU.from_columns(columns, name="ASN")
    fits.HDUList([first, table]).writeto(path, checksum=checksum)
    return path


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_tables_read_as_astropy_reads_them_and_are_found_good(shared_dir: Path, name: str) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    path = shared_dir / "golden" / name / "data" / "j9sy01010_asn.fits"
    association = read_association(path)
    with fits.open(path) as hdus:
        theirs = [(row["MEMNAME"], row["MEMTYPE"], bool(row["MEMPRSNT"])) for row in hdus[1].data]
    assert [(one.memname, one.memtype, one.memprsnt) for one in association.members] == theirs
    assert [one.memtype for one in association.members] == GOLDEN[name]
    assert [one.row for one in association.members] == list(range(1, len(GOLDEN[name]) + 1))
    assert association.rootname == "j9sy01010"
    assert association.file.sha256 == files.sha256_file(path)
    assert check_association(association, association.members) == ()


@pytest.mark.parametrize(
    ("rows", "codes"),
    [
        ("A1 EXP-DTH, A2 EXP-DTH, 010 PROD-DTH F", []),
        ("A1 EXP-DTH", []),
        ("A1 exp-dth, 010 prod-dth F", []),
        ("010 PROD-DTH F", ["A002"]),
        ("A1 EXP-DTH F", ["A002", "A008"]),
        ("", ["A002"]),
        ("A1 EXP-DTH, A1 EXP-DTH, 010 PROD-DTH F", ["A003"]),
        ("A1 EXP-CRJ, A2 EXP-CRJ, A1 PROD-CRJ F", ["A003"]),
        ("A1 EXP-DTH, 010 PROD-DTH F, 020 PROD-DTH F", ["A004"]),
        ("A1 EXP-CR1, A2 EXP-CR1, 011 PROD-CR1 F, 012 PROD-CR1 F", ["A004"]),
        ("A1 EXP_DTH, 010 PROD-DTH F", ["A005"]),
        ("A1 EXP-DTH, A2 EXP-FOO", ["A006"]),
        ("A1 EXP-DTH, A2 EXPDTH", ["A006"]),
        ("A1 EXP-DTH, J9SY01A2 EXP-DTH", ["A007"]),
        ("A1 EXP-DTH, J9SY01A2QXXXXX EXP-DTH", ["A007"]),
        ("A1 EXP-DTH, O9SY01A2Q EXP-DTH", ["A007"]),
        ("A1 EXP-DTH, A2 EXP-DTH F, 010 PROD-DTH F", ["A008"]),
        ("A1 EXP-CR1, A2 EXP-CR1", ["A011", "A011"]),
        ("A1 EXP-CR1, 011 PROD-CR1 F", ["A012"]),
        ("A1 EXP-CRJ, A2 EXP-CRJ F, 011 PROD-CRJ F", ["A008", "A012"]),
        ("A1 EXP-CR5, A2 EXP-CR5, 015 PROD-CR5 F", ["A014"]),
        ("A1 EXP-CR4, A2 EXP-CR4, 011 PROD-CR1 F, 012 PROD-CR2 F, 013 PROD-CR3 F, 014 PROD-CR4 F", []),
        ("A1 EXP-RP1, A2 EXP-RP1, A3 EXP-RP2, A4 EXP-RP2, 011 PROD-RP1 F, 012 PROD-RP2 F", []),
        ("A1 EXP-DTH, A2 EXP-CR1, A3 EXP-CR1, 011 PROD-CR1 F", []),
    ],
)
def test_rows_that_calacs_stumbles_over_are_reported(rows: str, codes: list[str]) -> None:
    assert _codes(rows) == codes


def test_more_exposures_than_calacs_combines_are_reported() -> None:
    rows = [f"J9SY{number:04d}Q EXP-CRJ" for number in range(121)]
    assert _codes(", ".join([*rows[:120], "010 PROD-CRJ F"])) == []
    assert _codes(", ".join([*rows, "010 PROD-CRJ F"])) == ["A010"]


def test_reports_name_the_file_the_rows_and_what_to_do() -> None:
    association = _association("A1 EXP-DTH, A1 EXP-DTH, A2 EXP-DTH F")
    twice, absent = check_association(association, association.members)
    assert (twice.severity, twice.file) == ("error", "data/j9sy01010_asn.fits")
    assert twice.message == "J9SY01A1Q is a member more than once: rows 1 (EXP-DTH) and 2 (EXP-DTH)"
    assert twice.hint == "drop all rows but one"
    assert (absent.severity, absent.message) == (
        "warning",
        "J9SY01A2Q in row 3 has MEMPRSNT = F: calacs leaves it out",
    )


def test_only_rows_that_stay_are_checked() -> None:
    association = _association("A1 EXP-DTH, A1 EXP-DTH, 010 PROD-DTH, 020 PROD-DTH")
    stay = (association.members[1],)
    assert check_association(association, stay) == ()


def test_groups_are_those_that_calacs_makes_products_of() -> None:
    members = _association(
        "A1 EXP-CR1, A2 EXP_CR1, A3 EXP-DTH, A4 EXP-CR2, A5 EXP-CR2 F, A6 EXP-RPT, A7 EXP-RPT,"
        "011 PROD-CR1 F, 010 PROD-DTH F, 013 PROD-RPT F"
    ).members
    found = [
        (group.kind, group.number, [one.row for one in group.exposures], group.product and group.product.row)
        for group in group_members(members)
    ]
    assert found == [("CR", 1, [1, 2], 8), ("DTH", 0, [3], None), ("DTH", 0, [4], None), ("RPT", 1, [6, 7], 10)]


def test_the_rows_of_a_later_group_bring_the_products_of_those_before_it() -> None:
    members = _association(
        "A1 EXP-CR1, A2 EXP-CR1, A3 EXP-CR2, A4 EXP-CR2, 011 PROD-CR1 F, 012 PROD-CR2 F, 010 PROD-DTH F"
    ).members
    first, second = group_members(members)
    assert rows_of_group(members, first) == (1, 2, 5)
    assert rows_of_group(members, second) == (3, 4, 5, 6)


PATTERNS = st.sampled_from(["EXP-DTH", "exp-*", "PROD-*", "J9SY01A1Q", "J9SY01A?Q", "*", "EXP", "J9SY0101[0]", ""])
FILTERS = st.dictionaries(
    st.sampled_from(["MEMTYPE", "MEMNAME"]), st.lists(PATTERNS, max_size=3).map(tuple), max_size=2
)
TABLES = st.lists(
    st.tuples(st.sampled_from(["A1", "A2", "A3", "010"]), st.sampled_from(["EXP-DTH", "EXP-CR1", "PROD-DTH"])),
    max_size=6,
).map(lambda rows: ", ".join(" ".join(row) for row in rows))


@given(table=TABLES, keep=FILTERS, drop=FILTERS)
def test_every_row_stays_or_goes_with_a_reason_and_in_order(
    table: str, keep: dict[str, tuple[str, ...]], drop: dict[str, tuple[str, ...]]
) -> None:
    association = _association(table)
    stay, go = filter_members(association, keep, drop)
    assert sorted([*stay, *(member for member, _ in go)], key=lambda one: one.row) == list(association.members)
    assert [one.row for one in stay] == sorted(one.row for one in stay)
    assert all(reason for _, reason in go)
    for member in stay:
        value = {"MEMTYPE": member.memtype, "MEMNAME": member.memname}
        assert all(any(matches(p, value[column]) for p in patterns) for column, patterns in keep.items())
        assert not any(matches(p, value[column]) for column, patterns in drop.items() for p in patterns)
    again = Association("j9sy01010", association.file, stay)
    assert filter_members(again, keep, drop) == (stay, ())


def test_the_reason_names_column_value_and_the_recipes_words() -> None:
    association = _association("A1 EXP-DTH, A2 EXP-DTH, 010 PROD-DTH")
    stay, go = filter_members(association, {"MEMTYPE": ("EXP-DTH",)}, {"MEMNAME": ("J9SY01A2*",)})
    assert [one.row for one in stay] == [1]
    assert [(member.row, reason) for member, reason in go] == [
        (2, "MEMNAME J9SY01A2Q is in association.drop (J9SY01A2*)"),
        (3, "MEMTYPE PROD-DTH is not in association.keep (EXP-DTH)"),
    ]


def test_wildcards_are_stars_and_question_marks_only() -> None:
    assert matches("j9l96*", "J9L960A7Q")
    assert matches("J9L960A?Q", "j9l960a7q")
    assert not matches("J9L960A7", "J9L960A7Q")
    assert not matches("J9L960A[7]Q", "J9L960A7Q")
    assert not matches("J.L960A7Q", "J9L960A7Q")


def test_members_are_compared_with_the_first_of_their_group_only() -> None:
    association = _association("A1 EXP-CR1, A2 EXP-CR1, 011 PROD-CR1, A3 EXP-DTH, A4 EXP-DTH")
    headers = {
        "j9sy01a1q": {"FLATCORR": "PERFORM", "DARKFILE": "jref$one_drk.fits", "EXPTIME": 10.0},
        "j9sy01a2q": {"FLATCORR": "OMIT", "DARKFILE": "JREF$ONE_DRK.FITS", "EXPTIME": 20.0},
        "j9sy01a3q": {"FLATCORR": "PERFORM"},
        "j9sy01a4q": {"FLATCORR": "OMIT"},
    }
    (found,) = members_that_disagree(association, association.members, headers)
    assert (found.code, found.severity) == ("A020", "warning")
    assert found.message == "FLATCORR = OMIT in j9sy01a2q will not count: calacs takes PERFORM of j9sy01a1q"
    assert found.file == "data/j9sy01010_asn.fits"


@pytest.mark.parametrize(("kind", "switch"), [("CR", "RPTCORR"), ("RP", "CRCORR")])
def test_a_switch_of_the_other_kind_of_group_is_an_error(kind: str, switch: str) -> None:
    association = _association(f"A1 EXP-{kind}1, A2 EXP-{kind}1, 011 PROD-{kind}1")
    headers = {"j9sy01a1q": {switch: "PERFORM"}, "j9sy01a2q": {switch: "PERFORM"}}
    assert [one.code for one in members_that_disagree(association, association.members, headers)] == ["A021"]
    assert members_that_disagree(association, association.members, {}) == ()


@pytest.mark.parametrize("checksum", [False, True])
@pytest.mark.parametrize("rows", [[1], [2, 3], [1, 3], [1, 2, 3, 4, 5]])
def test_a_filtered_table_holds_those_rows_and_is_else_the_same(
    tmp_path: Path, rows: list[int], checksum: bool
) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    table = _rows("A1 EXP-DTH, A2 EXP-DTH, A3 EXP-DTH F, A4 EXP-CR1, 010 PROD-DTH F")
    source = _write(tmp_path / "j9sy01010_asn.fits", table, checksum=checksum)
    before = files.sha256_file(source)
    target = tmp_path / "staged.fits"
    assert write_filtered(source, target, rows) == before == files.sha256_file(source)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(target, checksum=True) as hdus:
            found = [(row["MEMNAME"], row["MEMTYPE"], bool(row["MEMPRSNT"])) for row in hdus[1].data]
    assert found == [table[row - 1] for row in rows]
    assert [(one.memname, one.memtype, one.memprsnt) for one in read_association(target).members] == found
    old, new = source.read_bytes(), target.read_bytes()
    table_at = old.index(b"XTENSION")
    data_at = table_at + 2880
    changed = [
        old[at : at + 8].strip().decode() for at in range(0, data_at, 80) if old[at : at + 80] != new[at : at + 80]
    ]
    expected = [] if len(rows) == 5 else ["NAXIS2", *(["CHECKSUM", "DATASUM"] if checksum else [])]
    assert changed == expected
    assert len(old) == len(new)


def test_only_rows_that_exist_can_stay(tmp_path: Path) -> None:
    source = _write(tmp_path / "j9sy01010_asn.fits", _rows("A1 EXP-DTH, A2 EXP-DTH"))
    for rows in ([], [0], [1, 3]):
        with pytest.raises(PlanError, match="has rows 1 to 2") as error:
            write_filtered(source, tmp_path / "staged.fits", rows)
        assert error.value.code == "A013"
    with pytest.raises(OutputError, match="exists already"):
        write_filtered(source, source, [1])


def test_tables_of_another_form_are_named_with_what_was_expected(tmp_path: Path) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    rows = _rows("A1 EXP-DTH")
    cases = {
        "cos": (
            _write(tmp_path / "cos_asn.fits", rows, INSTRUME="COS"),
            "I021",
            "INSTRUME = COS, expected INSTRUME = ACS",
        ),
        "none": (_write(tmp_path / "none_asn.fits", rows, INSTRUME=None), "I021", "no keyword INSTRUME"),
        "detector": (_write(tmp_path / "det_asn.fits", rows, DETECTOR=None), "A001", "no keyword DETECTOR"),
    }
    image = tmp_path / "image_asn.fits"
    fits.PrimaryHDU().writeto(image)
    cases["image"] = (image, "A001", "no binary table")
    other = tmp_path / "other_asn.fits"
    table = fits.BinTableHDU.from_columns(
        [fits.Column("MEMNAME", "14A", array=["x"]), fits.Column("MEMTYPE", "J", array=[1])]
    )
    first = fits.PrimaryHDU(header=fits.Header({"INSTRUME": "ACS", "DETECTOR": "WFC"}))
    fits.HDUList([first, table]).writeto(other)
    cases["columns"] = (other, "A001", "no column MEMTYPE of text: found MEMNAME, MEMTYPE")
    for path, code, message in cases.values():
        with pytest.raises(PlanError, match=message) as error:
            read_association(path)
        assert (error.value.code, error.value.where) == (code, str(path))


@pytest.mark.calacs
@pytest.mark.parametrize(
    ("name", "keep", "rows"), [("pre_dth", {"MEMTYPE": ["EXP-*"]}, [1, 2]), ("pre_cr", {}, [1, 2, 3])]
)
def test_calacs_makes_the_golden_products_of_what_was_staged(
    shared_dir: Path, calacs_exe: Path, tmp_path: Path, name: str, keep: dict[str, list[str]], rows: list[int]
) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    golden = shared_dir / "golden" / name
    association = read_association(golden / "data" / "j9sy01010_asn.fits")
    stay, _ = filter_members(association, keep, {})
    assert [member.row for member in stay] == rows
    write_filtered(golden / "data" / "j9sy01010_asn.fits", tmp_path / "j9sy01010_asn.fits", rows)
    for raw in (golden / "data").glob("*_raw.fits"):
        text = golden / "expected" / f"{raw.stem}_primary_after_bestrefs.txt"
        wanted = fits.Header.fromtextfile(text)
        delivered = read_headers(raw)[0].cards
        edits = [
            ("PRIMARY", card.keyword, card.value)
            for card in wanted.cards
            if card.keyword not in ("", "COMMENT", "HISTORY") and delivered.get(card.keyword) != card.value
        ]
        assert len(edits) > 10
        stage_edited(raw, tmp_path / raw.name, edits)
        shutil.copy(golden / "data" / raw.name.replace("_raw", "_spt"), tmp_path)
    (tmp_path / "ref").symlink_to(golden / "crds" / "references" / "hst")
    run = subprocess.run(
        [str(calacs_exe), "j9sy01010_asn.fits"], cwd=tmp_path, env={"jref": "ref/"}, capture_output=True, check=False
    )
    assert run.returncode == 0, run.stdout[-2000:]
    products = sorted((golden / "expected").glob("*.fits"))
    assert len(products) >= 4
    for product in products:
        old, new = product.read_bytes(), (tmp_path / product.name).read_bytes()
        assert len(old) == len(new)
        differing = {old[at : at + 8] for at in range(0, len(old), 80) if old[at : at + 80] != new[at : at + 80]}
        assert differing <= {b"DATE    "}
