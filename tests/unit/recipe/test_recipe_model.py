from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from acsrecipe.recipe.keywords import IDENTITY, KEYWORDS, MATCHING, REFERENCES, STRUCTURAL, SWITCHES
from acsrecipe.recipe.model import ArchiveFolder, HeaderOverride, Recipe, UpdateWcs

SMALLEST: dict[str, Any] = {
    "format": 1,
    "name": "x",
    "observations": {"ids": ["J9L960010"], "archive": "mast"},
}


def codes(**parts: Any) -> list[str]:
    """Give the codes of what is wrong with the smallest recipe plus these parts, in order."""
    try:
        Recipe.model_validate({**SMALLEST, **parts})
    except ValidationError as error:
        return [line["type"] for line in error.errors()]
    return []


def override(**parts: Any) -> list[str]:
    return codes(headers=[{"reason": "x", **parts}])


def test_the_smallest_recipe_has_the_defaults_of_the_format() -> None:
    recipe = Recipe.model_validate(SMALLEST)
    assert recipe.observations.products == ("RAW", "ASN", "SPT")
    assert recipe.observations.proposal is None
    assert recipe.association.keep == recipe.association.drop == {}
    assert recipe.switches == {}
    assert recipe.headers == recipe.post == ()
    assert recipe.references.context == "latest"
    assert recipe.references.cache is recipe.references.server is None
    assert recipe.calibrate.engine == "auto"
    assert recipe.calibrate.threads is None


def test_names_of_the_archive_are_kept_in_upper_case() -> None:
    observations = {"ids": ["j9l960010", "j9l960a*"], "archive": {"folder": "d"}, "products": ["raw"]}
    recipe = Recipe.model_validate(
        {**SMALLEST, "observations": observations, "association": {"keep": {"MEMTYPE": ["exp-dth"]}}}
    )
    assert recipe.observations.ids == ("J9L960010", "J9L960A*")
    assert recipe.observations.products == ("RAW",)
    assert recipe.association.keep == {"MEMTYPE": ("EXP-DTH",)}
    assert recipe.observations.archive == ArchiveFolder(folder="d")


def test_a_recipe_can_be_built_in_python_and_written_as_json_and_read_again() -> None:
    recipe = Recipe(
        **SMALLEST,
        headers=(HeaderOverride(set={"DARKTIME": 339.5, "SUBARRAY": True, "NRPTEXP": 1}, reason="x"),),
        post=(UpdateWcs(step="updatewcs"),),
    )
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    values = recipe.headers[0].set
    assert [type(value) for value in values.values()] == [float, bool, int]


def test_a_recipe_built_in_python_obeys_the_rules_of_files() -> None:
    with pytest.raises(ValidationError, match="how the file is built"):
        HeaderOverride(set={"NAXIS": 2}, reason="x")


def test_a_recipe_can_not_be_changed() -> None:
    recipe = Recipe.model_validate(SMALLEST)
    with pytest.raises(ValidationError, match="frozen"):
        recipe.name = "y"  # type: ignore[misc]


@pytest.mark.parametrize("switch", SWITCHES)
def test_every_switch_is_taken_under_switches_and_refused_under_headers(switch: str) -> None:
    assert codes(switches={switch: "PERFORM"}) == codes(switches={switch: "OMIT"}) == []
    assert codes(switches={switch: "COMPLETE"})[0] == "R031"
    assert override(set={switch: "OMIT"}) == ["R045"]


@pytest.mark.parametrize("keyword", REFERENCES)
def test_every_reference_is_taken_as_an_override_and_refused_under_headers(keyword: str) -> None:
    assert codes(references={"override": {keyword: "refs/our_x.fits"}}) == []
    assert override(set={keyword: "refs/our_x.fits"}) == ["R046"]


@pytest.mark.parametrize("keyword", sorted({*STRUCTURAL, "NAXIS2", "TFORM1", "TTYPE12"}))
def test_structural_keywords_are_refused_even_with_the_flag(keyword: str) -> None:
    assert override(set={keyword: 1}, changes_match=True) == ["R042"]


@pytest.mark.parametrize("keyword", sorted(IDENTITY))
def test_keywords_that_name_the_file_are_refused(keyword: str) -> None:
    assert override(set={keyword: "x"}, changes_match=True)[0] in ("R043", "R042")


@pytest.mark.parametrize("keyword", sorted(MATCHING))
def test_what_crds_matches_needs_the_flag(keyword: str) -> None:
    hdu = "PRIMARY" if keyword in KEYWORDS["PRIMARY"] else "SCI"
    value = {"bool": True, "int": 1, "float": 1.0, "str": "A"}[KEYWORDS[hdu][keyword]]  # type: ignore[index]
    assert override(hdu=hdu, set={keyword: value}) == ["R044"]
    assert override(hdu=hdu, set={keyword: value}, changes_match=True) == []


@pytest.mark.parametrize(
    ("keyword", "value", "code"),
    [
        ("EXPTIME", 100, None),
        ("EXPTIME", 100.5, None),
        ("EXPTIME", "100.5", "R047"),
        ("EXPTIME", True, "R047"),
        ("PROPOSID", 10775, None),
        ("PROPOSID", 10775.0, "R047"),
        ("PROPOSID", True, "R047"),
        ("SUBARRAY", False, None),
        ("SUBARRAY", "F", "R047"),
        ("SUBARRAY", 0, "R047"),
        ("TARGNAME", "x" * 68, None),
        ("TARGNAME", "x" * 69, "R048"),
        ("TARGNAME", "'" * 34, None),
        ("TARGNAME", "'" * 35, "R048"),
        ("TARGNAME", "$(id); `ls`", None),
        ("TARGNAME", "a\nb", "R048"),
        ("TARGNAME", "a\x7f", "R048"),
        ("TARGNAME", " x", None),
        ("TARGNAME", "x ", "R048"),
        ("TARGNAME", "", None),
        ("NRPTEXP", 2**31 - 1, None),
        ("NRPTEXP", 2**31, "R049"),
        ("NRPTEXP", -(2**31), None),
        ("MYNOTE", "a keyword of my own", None),
        ("MY_NOTE", 3, None),
        ("MYNOTE", float("inf"), "R048"),
        ("MYNOTE9X", 1, None),
        ("MYNOTE9XY", 1, "R040"),
        ("mynote", 1, "R040"),
        ("MY.NOTE", 1, "R040"),
        ("EXPTIMES", 1.0, "R041"),
        ("XEPTIME", 1.0, "R041"),
        ("ATODGNE", 1.0, "R041"),
        ("P3_NPTS", 3, None),
    ],
)
def test_values_fit_their_keywords_and_a_card(keyword: str, value: object, code: str | None) -> None:
    assert override(set={keyword: value}) == ([code] if code else [])


def test_keywords_of_the_other_header_are_refused() -> None:
    assert override(set={"BUNIT": "ELECTRONS"}) == ["R050"]
    assert override(set={"BUNIT": "ELECTRONS"}, hdu="SCI") == []
    assert override(set={"EXPTIME": 1.0}, hdu="SCI") == ["R050"]


def test_conditions_may_name_any_keyword_with_one_value_or_several() -> None:
    where = {"DETECTOR": "WFC", "NAXIS1": 4144, "CCDCHIP": [1, 2], "FILTER1": ["F606W"], "PCTECORR": "OMIT"}
    assert override(set={"EXPFLAG": "NORMAL"}, where=where) == []
    assert override(set={"EXPFLAG": "NORMAL"}, where={"CCDCHIP": "1"}) == ["R047"]
    assert override(set={"EXPFLAG": "NORMAL"}, where={"PCTECORR": True}) == ["R047"]
    assert override(set={"EXPFLAG": "NORMAL"}, where={"FILTER1": []}) == ["R018"]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("data", None),
        ("data/../other", None),
        (".", None),
        ("/absolute/../is/taken/as/it/is", None),
        ("a b, c", None),
        ("..", "R065"),
        ("../data", "R065"),
        ("data/../../x", "R065"),
        ("./../x", "R065"),
        ("~", "R064"),
        ("~user/x", "R064"),
        ("$HOME", "R064"),
        ("a/${X}", "R064"),
        ("a\x00b", "R064"),
        ("a\nb", "R064"),
        ("file:///etc", "R064"),
        ("x" * 1025, "R064"),
        (" ", "R018"),
    ],
)
def test_paths_stay_in_the_recipes_folder_unless_absolute(path: str, code: str | None) -> None:
    found = codes(observations={"ids": ["J*"], "archive": {"folder": path}})
    assert found == ([code] if code else [])


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("J9L960010", True),
        ("j9l960a7q", True),
        ("J9L96*", True),
        ("*", True),
        ("J9L960A?Q", True),
        ("J????????", True),
        ("J9L960", False),
        ("J9L9600100", False),
        ("J9L960A?", False),
        ("J9L960010*A", False),
        ("I9L96*", False),
        ("J9L960_10", False),
        ("J9L-*", False),
        ("", False),
        ("é", False),
    ],
)
def test_rootnames_have_nine_characters_and_start_with_j(name: str, accepted: bool) -> None:
    found = codes(observations={"ids": [name], "archive": "mast"})
    assert found == ([] if accepted else ["R020"])


@pytest.mark.parametrize(
    ("context", "accepted"),
    [
        ("latest", True),
        ("hst_0729.pmap", True),
        ("hst_12345.pmap", True),
        ("hst_729.pmap", False),
        ("hst_0729.imap", False),
        ("hst_acs_0729.imap", False),
        ("HST_0729.pmap", False),
        ("../hst_0729.pmap", False),
        ("hst-2019-01-01T00:00:00", False),
    ],
)
def test_contexts_are_latest_or_named(context: str, accepted: bool) -> None:
    assert codes(references={"context": context}) == ([] if accepted else ["R062"])


@pytest.mark.parametrize(
    ("server", "accepted"),
    [
        ("https://hst-crds.stsci.edu", True),
        ("http://localhost:8001/crds", True),
        ("http://[::1]:80", True),
        ("ftp://host", False),
        ("host", False),
        ("https://", False),
        ("https://user@host", False),
        ("https://host:port", False),
        ("https://host/?x=1", False),
        ("https://host/`id`", False),
        ("https://ho st", False),
        ("https://h\xf6st", False),
    ],
)
def test_servers_are_plain_addresses(server: str, accepted: bool) -> None:
    assert codes(references={"server": server}) == ([] if accepted else ["R063"])


def test_circles_of_any_length_are_shown_from_step_to_step() -> None:
    from acsrecipe.recipe.rules import post_steps

    steps = [{"step": name, "after": after} for name, after in {"a": ["x"], "x": ["y"], "y": ["z"], "z": ["x"]}.items()]
    (found,) = post_steps(steps, {})
    assert found.message == "steps wait for each other: x -> y -> z -> x"
    assert (
        list(post_steps([{"step": "a", "after": ["b", "c"]}, {"step": "b", "after": ["c"]}, {"step": "c"}], {})) == []
    )


def test_everything_wrong_is_reported_at_once() -> None:
    found = codes(
        name="a b",
        switches={"PCTECOR": "OMIT", "DARKCORR": "YES"},
        headers=[{"set": {"NAXIS": 1, "EXPTIME": "1"}}],
        references={"context": "x", "cache": "~"},
        post=[{"step": "updatewcs", "use_db": "no"}, {"step": "updatewcs"}],
    )
    expected = ["R017", "R030", "R031", "R042", "R047", "R062", "R064", "R070", "bool_type", "missing", "literal_error"]
    assert sorted(found) == sorted(expected)
