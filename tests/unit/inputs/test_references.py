from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standins.crds_archive import DARK_RULES, Archive, encode, make_archive, write_cache, write_context, write_rmap

from acsrecipe.errors import ArchiveError
from acsrecipe.inputs.crds_cache import decode_catalogue
from acsrecipe.inputs.model import FileIdentity, HduHeader, Value
from acsrecipe.inputs.references import (
    Catalogued,
    CrdsSettings,
    Rules,
    identify,
    merge_headers,
    open_cache,
    open_rules,
    verify_reference,
)

WFC: dict[str, Value] = {
    "INSTRUME": "ACS",
    "DETECTOR": "WFC",
    "CCDAMP": "ABCD",
    "CCDGAIN": 2.0,
    "DARKCORR": "PERFORM",
    "PCTECORR": "OMIT",
    "DATE-OBS": "2006-03-06",
    "TIME-OBS": "06:00:00",
}


@pytest.fixture
def archive() -> Archive:
    return make_archive()


def rules_of(archive: Archive, root: Path, asked: str = "hst_0001.pmap") -> Rules:
    return open_rules(CrdsSettings(str(write_cache(archive, root))), asked)


def test_a_choice_says_which_rule_matched_which_parameters_and_from_when(archive: Archive, tmp_path: Path) -> None:
    dark = rules_of(archive, tmp_path).choose(WFC)["DARKFILE"]
    assert dark.name == "bbb0002ij_drk.fits"
    assert dark.mapping == "hst_acs_darkfile_0001.rmap"
    assert dark.useafter == "2006-03-01 00:00:00"
    assert dark.matched == {"DETECTOR": "WFC", "CCDAMP": "ABCD", "CCDGAIN": "1.0|2.0"}
    assert not dark.problem
    assert not dark.irrelevant


def test_a_reference_carries_its_path_size_and_catalogued_sha1(archive: Archive, tmp_path: Path) -> None:
    dark = rules_of(archive, tmp_path).choose(WFC, ["darkfile"])["DARKFILE"]
    content = archive.references["bbb0002ij_drk.fits"]
    assert dark.file == FileIdentity(
        path=str(tmp_path / "references" / "hst" / "bbb0002ij_drk.fits"),
        size=len(content),
        sha1=archive.catalogue()["bbb0002ij_drk.fits"]["sha1sum"],
    )


def test_a_type_that_does_not_apply_says_which_keyword_is_the_reason(archive: Archive, tmp_path: Path) -> None:
    rules = rules_of(archive, tmp_path)
    assert rules.choose(WFC)["PCTETAB"].name == "N/A"
    assert rules.choose(WFC)["PCTETAB"].irrelevant == "PCTECORR = OMIT"
    hrc = rules.choose(WFC | {"DETECTOR": "HRC"})["PCTETAB"]
    assert hrc.irrelevant == "DETECTOR = HRC, PCTECORR = OMIT"
    assert rules.choose(WFC)["MLINTAB"].irrelevant == "the context says N/A for ACS"
    assert rules.choose(WFC | {"PCTECORR": "PERFORM"})["PCTETAB"].name == "ddd0004ij_cte.fits"


def test_a_date_before_every_rule_is_na_with_a_problem(archive: Archive, tmp_path: Path) -> None:
    dark = rules_of(archive, tmp_path).choose(WFC | {"DATE-OBS": "1999-01-01"})["DARKFILE"]
    assert dark.name == "N/A"
    assert dark.problem == (
        "no rule matches DETECTOR = WFC, CCDAMP = ABCD, CCDGAIN = 2.0, DATE-OBS = 1999-01-01, TIME-OBS = 06:00:00"
    )


def test_a_value_that_crds_refuses_leaves_the_header_as_it_is(archive: Archive, tmp_path: Path) -> None:
    dark = rules_of(archive, tmp_path).choose(WFC | {"CCDAMP": "Z"})["DARKFILE"]
    assert dark.name == ""
    assert "'CCDAMP' value='Z' is not in ['ABCD']" in dark.problem


def test_a_card_without_a_value_counts_as_absent(archive: Archive, tmp_path: Path) -> None:
    rules = rules_of(archive, tmp_path)
    without = {keyword: value for keyword, value in WFC.items() if keyword != "DARKCORR"}
    assert rules.choose(without | {"DARKCORR": None}) == rules.choose(without)


@pytest.mark.parametrize("gain", [2, 2.0, "2", "2.0", " 2. "])
def test_numbers_match_however_they_are_written(archive: Archive, tmp_path: Path, gain: Value) -> None:
    assert rules_of(archive, tmp_path).choose(WFC | {"CCDGAIN": gain})["DARKFILE"].name == "bbb0002ij_drk.fits"


def test_an_exposure_of_another_instrument_is_refused(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="INSTRUME is WFC3, expected ACS"):
        rules_of(archive, tmp_path).choose(WFC | {"INSTRUME": "WFC3"})


def test_a_type_that_the_context_does_not_know_is_a_problem(archive: Archive, tmp_path: Path) -> None:
    choice = rules_of(archive, tmp_path).choose(WFC, ["SATUFILE"])["SATUFILE"]
    assert (choice.name, choice.problem) == ("", "hst_acs_0001.imap knows no such reference type")


def test_a_type_that_the_rules_omit_is_left_out(archive: Archive, tmp_path: Path) -> None:
    name = "hst_acs_pctetab_0001.rmap"
    archive.mappings[name] = write_rmap(name, "pctetab", ("DETECTOR",), "Match({})", rmap_omit='(DETECTOR == "WFC")')
    assert rules_of(archive, tmp_path).choose(WFC).keys() == {"DARKFILE", "MLINTAB"}


def test_bad_files_of_crds_are_named_in_the_choice_and_for_the_context(archive: Archive, tmp_path: Path) -> None:
    archive.bad = ("bbb0002ij_drk.fits", "hst_acs_darkfile_0001.rmap")
    rules = rules_of(archive, tmp_path)
    assert "CRDS lists bbb0002ij_drk.fits as bad" in rules.choose(WFC)["DARKFILE"].problem
    assert [(one.severity, one.message) for one in rules.observed] == [
        ("warning", "CRDS lists hst_acs_darkfile_0001.rmap as bad: scientifically invalid")
    ]


@pytest.mark.parametrize(
    "name", ["../../x.fits", "/etc/x.fits", "http://x/y.fits", "a" * 200 + ".fits", "x.fits\\0", "-x.fits", "x.exe"]
)
def test_a_name_that_is_not_a_plain_file_name_is_refused(archive: Archive, tmp_path: Path, name: str) -> None:
    rmap = "hst_acs_darkfile_0001.rmap"
    rules = DARK_RULES.replace("bbb0002ij_drk.fits", name)
    archive.mappings[rmap] = write_rmap(rmap, "darkfile", ("DETECTOR", "CCDAMP", "CCDGAIN"), rules)
    dark = rules_of(archive, tmp_path).choose(WFC)["DARKFILE"]
    assert dark.name == ""
    assert dark.file is None
    assert "not the plain name of a FITS file" in dark.problem


def test_latest_without_a_server_says_that_the_cache_decided(archive: Archive, tmp_path: Path) -> None:
    context = rules_of(archive, tmp_path, "latest").context
    assert (context.name, context.asked) == ("hst_0002.pmap", "latest")
    assert context.source == "cache: operational context of server_config, server not asked"
    assert context.synced == "2026-01-02T03:04:05"
    assert context.cache == str(tmp_path)
    assert context.server == ""


def test_only_the_contexts_acs_rules_are_loaded_each_with_its_sha1(archive: Archive, tmp_path: Path) -> None:
    rules = rules_of(archive, tmp_path)
    assert rules.context.mappings.keys() == {
        "hst_0001.pmap",
        "hst_acs_0001.imap",
        "hst_acs_darkfile_0001.rmap",
        "hst_acs_pctetab_0001.rmap",
    }
    for name, sha1 in rules.context.mappings.items():
        assert f"'sha1sum' : '{sha1}'" in archive.mappings[name].decode()


def test_an_absent_context_is_named_with_the_nearest_that_is_there(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"hst_0003\.pmap is not in the CRDS cache") as caught:
        rules_of(archive, tmp_path, "hst_0003.pmap")
    assert caught.value.exit_code == 4
    assert "contexts there: hst_0001.pmap, hst_0002.pmap" in str(caught.value.hint)


@pytest.mark.parametrize("asked", ["../hst_0001.pmap", "/x/hst_0001.pmap", "hst_0001.imap", "", "hst-2020-01-01"])
def test_what_is_not_a_contexts_name_is_refused(archive: Archive, tmp_path: Path, asked: str) -> None:
    with pytest.raises(ArchiveError, match="not the name of a CRDS context"):
        rules_of(archive, tmp_path, asked)


@pytest.mark.parametrize("server", [None, "", "https://crds-serverless-mode.stsci.edu", "https://hst-server-less.edu"])
def test_serverless_addresses_are_no_server(archive: Archive, tmp_path: Path, server: str | None) -> None:
    settings = CrdsSettings(str(write_cache(archive, tmp_path)), server)
    assert not settings.online
    assert open_rules(settings, "latest").context.source.endswith("server not asked")


def test_an_empty_cache_knows_no_latest_context(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="never heard of a CRDS server"):
        open_rules(CrdsSettings(str(tmp_path / "nowhere")), "latest")


@pytest.mark.parametrize("name", ["hst_0001.pmap", "hst_acs_0001.imap", "hst_acs_pctetab_0001.rmap"])
def test_a_changed_rule_file_is_found(archive: Archive, tmp_path: Path, name: str) -> None:
    root = write_cache(archive, tmp_path, catalogue=False)
    path = root / "mappings" / "hst" / name
    path.write_bytes(path.read_bytes().replace(b"generated", b"forged   "))
    with pytest.raises(ArchiveError, match=f"broken {name}") as caught:
        open_rules(CrdsSettings(str(root)), "hst_0001.pmap")
    assert str(path) in str(caught.value)


def test_a_rule_file_replaced_by_another_valid_one_is_found_by_the_catalogue(archive: Archive, tmp_path: Path) -> None:
    root = write_cache(archive, tmp_path)
    other = archive.mappings["hst_acs_darkfile_0002.rmap"]
    (root / "mappings" / "hst" / "hst_acs_darkfile_0001.rmap").write_bytes(other)
    with pytest.raises(ArchiveError, match="CRDS's catalogue says"):
        open_rules(CrdsSettings(str(root)), "hst_0001.pmap")


@pytest.mark.parametrize("content", [b"", b"header = {", b"import os", b"\xff\xfe", b"selector = {}\n"])
def test_a_rule_file_that_is_none_is_an_error_for_people(archive: Archive, tmp_path: Path, content: bytes) -> None:
    root = write_cache(archive, tmp_path)
    (root / "mappings" / "hst" / "hst_acs_pctetab_0001.rmap").write_bytes(content)
    with pytest.raises(ArchiveError, match=r"broken hst_acs_pctetab_0001\.rmap"):
        open_rules(CrdsSettings(str(root)), "hst_0001.pmap")


def test_a_missing_rule_file_is_named(archive: Archive, tmp_path: Path) -> None:
    root = write_cache(archive, tmp_path)
    (root / "mappings" / "hst" / "hst_acs_pctetab_0001.rmap").unlink()
    with pytest.raises(ArchiveError, match=r"hst_acs_pctetab_0001\.rmap is not in the CRDS cache"):
        open_rules(CrdsSettings(str(root)), "hst_0001.pmap")


def test_crds_settings_of_the_environment_change_nothing(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CRDS_PATH", "CRDS_MAPPATH", "CRDS_PATH_SINGLE"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    monkeypatch.setenv("CRDS_SERVER_URL", "https://jwst-crds.example")
    monkeypatch.setenv("CRDS_IGNORE_MAPPING_CHECKSUM", "1")
    before = dict(os.environ)
    assert rules_of(archive, tmp_path / "cache").choose(WFC)["DARKFILE"].name == "bbb0002ij_drk.fits"
    assert before.items() <= dict(os.environ).items()  # crds itself adds some of its defaults when imported
    assert not (tmp_path / "elsewhere").exists()


def test_rules_are_never_looked_for_on_the_network(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CRDS_S3_ENABLED makes CRDS's own loader fetch mappings from S3."""
    monkeypatch.setenv("CRDS_S3_ENABLED", "1")
    assert rules_of(archive, tmp_path).choose(WFC)["DARKFILE"].name == "bbb0002ij_drk.fits"


def test_a_context_that_names_a_file_elsewhere_is_refused(archive: Archive, tmp_path: Path) -> None:
    archive.mappings |= write_context(1, {"darkfile": "../../hst_acs_darkfile_0001.rmap"})
    with pytest.raises(ArchiveError, match="not the plain name of a mapping"):
        rules_of(archive, tmp_path)


def test_nothing_is_printed_and_nothing_is_written(
    archive: Archive, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = write_cache(archive, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    open_rules(CrdsSettings(str(root)), "latest").choose(WFC | {"CCDAMP": "Z"})
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    assert capfd.readouterr() == ("", "")


def test_importing_the_module_loads_neither_crds_nor_astropy() -> None:
    code = (
        "import sys, acsrecipe.inputs.references; print([n for n in ('crds', 'astropy', 'numpy') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("layout", "folder"), [("flat", ""), ("instrument", "acs")])
def test_both_layouts_of_a_cache_are_read(archive: Archive, tmp_path: Path, layout: str, folder: str) -> None:
    cache = open_cache(CrdsSettings(str(write_cache(archive, tmp_path, layout))))
    found = identify(cache, "ddd0004ij_cte.fits")
    assert cache.layout == layout
    assert found is not None
    assert Path(found.path) == tmp_path / "references" / "hst" / folder / "ddd0004ij_cte.fits"


def test_a_file_under_the_other_layout_is_found_too(archive: Archive, tmp_path: Path) -> None:
    write_cache(archive, tmp_path, "flat")
    (tmp_path / "config" / "hst" / "ref_cache_subdir_mode").write_text("instrument")
    assert identify(open_cache(CrdsSettings(str(tmp_path))), "ddd0004ij_cte.fits") is not None


def test_an_undeclared_layout_is_found_by_looking(archive: Archive, tmp_path: Path) -> None:
    write_cache(archive, tmp_path, "flat")
    (tmp_path / "config" / "hst" / "ref_cache_subdir_mode").unlink()
    assert open_cache(CrdsSettings(str(tmp_path))).layout == "flat"
    assert open_cache(CrdsSettings(str(tmp_path / "new"))).layout == "instrument"


def test_the_legacy_layout_is_refused_by_name(archive: Archive, tmp_path: Path) -> None:
    write_cache(archive, tmp_path)
    (tmp_path / "config" / "hst" / "ref_cache_subdir_mode").write_text("legacy")
    with pytest.raises(ArchiveError, match="'legacy'"):
        open_cache(CrdsSettings(str(tmp_path)))


def test_a_reference_that_is_not_in_the_cache_has_no_identity(archive: Archive, tmp_path: Path) -> None:
    root = write_cache(archive, tmp_path, references=False)
    assert open_rules(CrdsSettings(str(root)), "hst_0001.pmap").choose(WFC)["DARKFILE"].file is None


def test_without_a_catalogue_size_is_as_found_and_sha1_unknown(archive: Archive, tmp_path: Path) -> None:
    cache = open_cache(CrdsSettings(str(write_cache(archive, tmp_path, catalogue=False))))
    found = identify(cache, "ddd0004ij_cte.fits")
    assert found is not None
    assert (found.size, found.sha1) == (len(archive.references["ddd0004ij_cte.fits"]), "")


def test_half_a_file_in_the_cache_is_seen_when_planning(archive: Archive, tmp_path: Path) -> None:
    root = write_cache(archive, tmp_path)
    (root / "references" / "hst" / "bbb0002ij_drk.fits").write_bytes(b"half")
    size = len(archive.references["bbb0002ij_drk.fits"])
    dark = open_rules(CrdsSettings(str(root)), "hst_0001.pmap").choose(WFC)["DARKFILE"]
    assert dark.problem == f"bbb0002ij_drk.fits in the cache has 4 bytes, expected {size}"


def test_a_whole_reference_is_verified(archive: Archive, tmp_path: Path) -> None:
    cache = open_cache(CrdsSettings(str(write_cache(archive, tmp_path))))
    identity = identify(cache, "ddd0004ij_cte.fits")
    assert identity is not None
    assert verify_reference(identity) == ""
    assert verify_reference(FileIdentity(identity.path, identity.size), cache.catalogue) == ""


def test_one_flipped_bit_is_found_even_after_the_file_was_verified(archive: Archive, tmp_path: Path) -> None:
    cache = open_cache(CrdsSettings(str(write_cache(archive, tmp_path))))
    identity = identify(cache, "ddd0004ij_cte.fits")
    assert identity is not None
    assert verify_reference(identity) == ""
    path = Path(identity.path)
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))
    assert verify_reference(identity).startswith("has sha1 ")
    assert verify_reference(FileIdentity(identity.path, identity.size), cache.catalogue).startswith("has sha1 ")


def test_a_file_verified_once_is_not_read_again(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = open_cache(CrdsSettings(str(write_cache(archive, tmp_path))))
    identity = identify(cache, "aaa0001ij_drk.fits")
    assert identity is not None
    assert verify_reference(identity) == ""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("the file was hashed twice")

    monkeypatch.setattr("hashlib.new", refuse)
    assert verify_reference(identity) == ""


def test_a_short_and_an_absent_reference_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    assert verify_reference(FileIdentity(str(path), 10)) == "is not there"
    path.write_bytes(b"abc")
    assert verify_reference(FileIdentity(str(path), 10)) == "has 3 bytes, expected 10"


@given(st.binary(max_size=200))
def test_a_server_config_of_any_bytes_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    root = tmp_path_factory.mktemp("cache")
    (root / "config" / "hst").mkdir(parents=True)
    (root / "config" / "hst" / "server_config").write_bytes(content)
    try:
        cache = open_cache(CrdsSettings(str(root)))
    except ArchiveError as error:
        refused = str(error.where)
    else:
        refused = ""
        assert isinstance(cache.latest, str)
    assert refused == "" or refused.endswith("server_config")


@given(st.recursive(st.none() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)))
def test_a_catalogue_of_any_shape_is_read_or_refused(data: object) -> None:
    if isinstance(data, dict):
        for entry in decode_catalogue(encode(data)).values():
            assert entry.size >= 0
    else:
        with pytest.raises(ValueError, match="not a dictionary"):
            decode_catalogue(encode(data))


def test_entries_of_the_catalogue_without_a_size_are_unknown_and_odd_sha1s_are_left_out() -> None:
    catalogue = decode_catalogue(
        {
            "a.fits": {"size": "12", "sha1sum": "A" * 40},
            "b.fits": {"size": 13, "sha1sum": "none"},
            "c.fits": {"size": "x"},
            "d.fits": "NOT FOUND",
        }
    )
    assert dict(catalogue) == {"a.fits": Catalogued(12, "a" * 40), "b.fits": Catalogued(13, "")}
    assert catalogue.get("d.fits") is None


def test_the_first_value_of_a_keyword_counts_over_all_extensions() -> None:
    hdus = [
        HduHeader("PRIMARY", 1, {"DETECTOR": "WFC"}),
        HduHeader("SCI", 1, {"NAXIS1": 4144, "CCDCHIP": 2}),
        HduHeader("SCI", 2, {"NAXIS1": 4144, "CCDCHIP": 1, "DETECTOR": "HRC"}),
    ]
    assert merge_headers(hdus) == {"DETECTOR": "WFC", "NAXIS1": 4144, "CCDCHIP": 2}
