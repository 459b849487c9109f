"""The references chosen are those that the crds package's own command writes into headers, keyword by keyword."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from astropy.io import fits

from acsrecipe.inputs.model import HduHeader, ReferenceChoice, Value
from acsrecipe.inputs.references import CrdsSettings, Rules, merge_headers, open_rules

RAWS = ("j8bt05njq", "j8bt06o6q", "j8bt09jcq")
GOLDEN = ("pre_dth", "post_dth", "pre_cr", "post_sub2k", "pre_sub")


def read_headers(path: Path) -> list[HduHeader]:
    with fits.open(path) as hdus:
        return [HduHeader(hdu.name, hdu.ver, cards_of(hdu.header)) for hdu in hdus]


def cards_of(header: fits.Header) -> dict[str, Value]:
    cards: dict[str, Value] = {}
    for card in header.cards:
        if card.keyword not in ("", "COMMENT", "HISTORY"):
            cards.setdefault(card.keyword, None if isinstance(card.value, fits.card.Undefined) else card.value)
    return cards


def as_written(choice: ReferenceChoice) -> str:
    return choice.name if choice.name == "N/A" else f"jref${choice.name}"


def run_bestrefs(cache: Path, home: Path, context: str, files: list[Path]) -> str:
    """Run the command on files, and give what it logs."""
    environment = {
        "PATH": os.defpath,
        "HOME": str(home),
        "CRDS_PATH": str(cache),
        "CRDS_OBSERVATORY": "hst",
    }
    command = [sys.executable, "-m", "crds.bestrefs", "--new-context", context, "--update-bestrefs", "--files"]
    done = subprocess.run(
        [*command, *map(str, files)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "dry run" not in done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def real_cache(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy: CRDS's own command may write into its cache."""
    target = tmp_path_factory.mktemp("crds") / "cache"
    shutil.copytree(shared_dir / "real" / "crds_cache", target, copy_function=shutil.copyfile)
    for folder in [target, *(path for path in target.rglob("*") if path.is_dir())]:
        folder.chmod(0o755)
    return target


@pytest.mark.parametrize("context", ["hst_0500.pmap", "hst_0729.pmap"])
def test_real_exposures_get_the_references_that_bestrefs_writes(
    context: str, shared_dir: Path, real_cache: Path, tmp_path: Path
) -> None:
    copies = []
    for root in RAWS:
        copy = tmp_path / f"{root}_raw.fits"
        shutil.copyfile(shared_dir / "real" / "raw_hrc" / copy.name, copy)
        copies.append(copy)
    rules = open_rules(CrdsSettings(str(real_cache)), context)
    chosen = {path: rules.choose(merge_headers(read_headers(path))) for path in copies}
    assert " 0 errors" in run_bestrefs(real_cache, tmp_path, context, copies)
    for path, choices in chosen.items():
        written = fits.getheader(path)
        assert written["CRDS_CTX"] == context
        assert choices.keys() == set(rules.keywords)
        assert len(choices) >= 21
        for keyword, choice in choices.items():
            assert as_written(choice) == written[keyword], (path.name, keyword)
            # What CRDS answers by "No match found." is N/A in the header, and told apart from a type not needed.
            assert not choice.problem
            assert_why(rules, choice)


def assert_why(rules: Rules, choice: ReferenceChoice) -> None:
    assert choice.mapping in rules.context.mappings
    if choice.name == "N/A":
        assert choice.irrelevant
        assert not choice.useafter
    else:
        assert choice.useafter
        assert choice.matched or choice.keyword == "D2IMFILE"


STRUCTURAL = {"SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "EXTEND", "XTENSION", "PCOUNT", "GCOUNT"}
VARIED: dict[str, dict[str, Value]] = {
    "full_frame": {"NAXIS1": 4144, "NAXIS2": 2068, "LTV1": 24.0, "LTV2": 0.0},
    "unknown_subarray": {"SUBARRAY": True, "CCDAMP": "C", "NAXIS1": 1046, "NAXIS2": 1000, "LTV1": -500.0},
    "half_chip_of_amp_a": {"CCDAMP": "A", "NAXIS1": 4144, "NAXIS2": 2068, "LTV1": 24.0, "LTV2": 0.0},
    "all_omitted": {f"{one}CORR": "OMIT" for one in ("DQI", "BIAS", "DARK", "FLAT", "PHOT", "PCTE", "DRIZ", "FLSH")},
    "all_complete": {f"{one}CORR": "COMPLETE" for one in ("DQI", "BIAS", "DARK", "FLAT", "PHOT", "PCTE", "DRIZ")},
    "cr_split": {"CRCORR": "PERFORM"},
    "after_sm4": {"DATE-OBS": "2012-03-06", "CCDGAIN": 2.0, "APERTURE": "WFC", "PCTECORR": "PERFORM"},
    "odd_gain_of_2009": {"DATE-OBS": "2009-06-06", "CCDGAIN": 1.4},
    "before_launch": {"DATE-OBS": "1985-01-01"},
    "unknown_filter": {"FILTER1": "F999X"},
    "unknown_detector": {"DETECTOR": "XYZ"},
    "no_date": {"DATE-OBS": "sometime"},
    "sbc": {"DETECTOR": "SBC", "CCDAMP": "N/A", "CCDGAIN": -999.0, "FILTER1": "F150LP", "FILTER2": "N/A"},
    "coronagraph": {"DETECTOR": "HRC", "OBSTYPE": "CORONAGRAPHIC", "FILTER2": "F606W", "FILTER1": "CLEAR1S"},
    "internal": {"OBSTYPE": "INTERNAL", "IMAGETYP": "FLAT"},
    "flashed": {"FLASHCUR": "MED", "FLSHCORR": "PERFORM", "SHUTRPOS": "B", "DATE-OBS": "2014-03-06"},
    "offset_wheel": {"FW1OFFST": 1, "FW2OFFST": -1.0},
    "lower_case": {"FILTER1": "f606w", "CCDAMP": "abcd"},
    "blank_amp": {"CCDAMP": ""},
}


def test_varied_exposures_get_what_bestrefs_writes(shared_dir: Path, real_cache: Path, tmp_path: Path) -> None:
    """Fallback rules, types not needed, nothing that matches, values that CRDS refuses: one command on all."""
    plain = read_headers(shared_dir / "golden" / "pre_dth" / "data" / "j9sy01a1q_raw.fits")
    copies = {}
    for name, changes in VARIED.items():
        # The cards alone, in the primary header (which CRDS reads first), so that NAXISn can be anything.
        header = fits.Header()
        for keyword, value in (merge_headers(plain) | changes).items():
            if keyword not in STRUCTURAL:
                header[keyword] = value
        axes = {one: changes.get(one, 1) for one in ("NAXIS1", "NAXIS2")}
        for keyword in ("BIASFILE", "DARKFILE", "PFLTFILE"):
            header[keyword] = "jref$as_delivered.fits"
        copies[name] = tmp_path / f"{name}_raw.fits"
        write_with_axes(copies[name], header, axes)
    rules = open_rules(CrdsSettings(str(real_cache)), "hst_0729.pmap")
    chosen = {name: rules.choose(merge_headers(read_headers(path))) for name, path in copies.items()}
    delivered = {name: fits.getheader(path) for name, path in copies.items()}
    run_bestrefs(real_cache, tmp_path, "hst_0729.pmap", list(copies.values()))
    seen = {"kept": 0, "no match": 0, "not needed": 0, "chosen": 0}
    for name, path in copies.items():
        written = fits.getheader(path)
        assert chosen[name].keys() == set(rules.keywords), name
        for keyword, choice in chosen[name].items():
            if choice.name:
                assert as_written(choice) == written[keyword], (name, keyword, choice)
            else:
                assert choice.problem
                assert written.get(keyword) == delivered[name].get(keyword), (name, keyword, choice)
            if choice.name not in ("", "N/A"):
                assert choice.useafter, (name, choice)
            kind = "kept" if not choice.name else "no match" if choice.problem else "not needed"
            seen["chosen" if choice.name not in ("", "N/A") else kind] += 1
    assert all(seen.values()), seen


def write_with_axes(path: Path, header: fits.Header, axes: dict[str, Value]) -> None:
    """Write a primary header with two axes and a whole number of blocks of zeros."""
    header = header.copy()
    cards = [("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 2), ("NAXIS1", axes["NAXIS1"]), ("NAXIS2", axes["NAXIS2"])]
    for place, (keyword, value) in enumerate(cards):
        header.insert(place, (keyword, value))
    pixels = int(str(axes["NAXIS1"])) * int(str(axes["NAXIS2"]))
    path.write_bytes(header.tostring().encode() + bytes(-(-pixels // 2880) * 2880))


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_exposures_get_the_references_in_their_headers_after_bestrefs(name: str, shared_dir: Path) -> None:
    golden = shared_dir / "golden" / name
    rules = open_rules(CrdsSettings(str(golden / "crds")), "latest")
    texts = sorted((golden / "expected").glob("*_raw_primary_after_bestrefs.txt"))
    assert texts
    for text in texts:
        after = fits.Header.fromtextfile(text)
        merged = merge_headers(read_headers(golden / "data" / f"{text.name[:9]}_raw.fits"))
        merged["PCTECORR"] = after["PCTECORR"]
        choices = rules.choose(merged)
        assert choices.keys() == set(rules.keywords)
        for keyword, choice in choices.items():
            assert as_written(choice) == after[keyword], (text.name, keyword)
            assert_why(rules, choice)
            if choice.name != "N/A":
                assert choice.file is not None
                assert Path(choice.file.path).is_file()


def test_the_notebooks_exposure_changes_eight_references_between_the_contexts(shared_dir: Path) -> None:
    """The eight that real/README.md names, for a WFC F606W exposure of March 2006."""
    raw = shared_dir / "golden" / "pre_dth" / "data" / "j9sy01a1q_raw.fits"
    merged = merge_headers(read_headers(raw)) | {
        "PCTECORR": "PERFORM",
        "NAXIS1": 4144,
        "NAXIS2": 2068,
        "LTV1": 24.0,
        "LTV2": 0.0,
        "DATE-OBS": "2006-03-14",
    }
    settings = CrdsSettings(str(shared_dir / "real" / "crds_cache"))
    old, new = (open_rules(settings, name).choose(merged) for name in ("hst_0500.pmap", "hst_0729.pmap"))
    known = old.keys() & new.keys()  # SNKCFILE came later than hst_0500
    changed = {one: (old[one].name, new[one].name) for one in known if old[one].name != new[one].name}
    assert changed == {
        "BIASFILE": ("q3v1639aj_bia.fits", "2581507sj_bia.fits"),
        "BPIXTAB": ("q860440tj_bpx.fits", "25g1256nj_bpx.fits"),
        "DARKFILE": ("q3v1639pj_drk.fits", "25815032j_drk.fits"),
        "DRKCFILE": ("z5m1236mj_dkc.fits", "25815064j_dkc.fits"),
        "IMPHTTAB": ("08b18470j_imp.fits", "2391649qj_imp.fits"),
        "MDRIZTAB": ("ub21537aj_mdz.fits", "37g1550cj_mdz.fits"),
        "OSCNTAB": ("lch1459bj_osc.fits", "17717071j_osc.fits"),
        "PCTETAB": ("xa81724cj_cte.fits", "19i16323j_cte.fits"),
    }
