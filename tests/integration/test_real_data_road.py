"""Recipes on the real data: references as CRDS's own command chooses them; a WCS as stwcs itself makes it."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from astropy.io import fits

from acsrecipe import Environment, build_plan, load_recipe, run_plan
from acsrecipe.plan.model import Plan

HRC = ("j8bt05njq", "j8bt06o6q", "j8bt09jcq")


def copy_writable(source: Path, target: Path) -> Path:
    """Copy a read-only folder: CRDS's own command may write into its cache."""
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    for folder in [target, *(path for path in target.rglob("*") if path.is_dir())]:
        folder.chmod(0o755)
    return target


@pytest.fixture(scope="module")
def cache(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_writable(shared_dir / "real" / "crds_cache", tmp_path_factory.mktemp("crds") / "cache")


def plan_hrc(shared_dir: Path, folder: Path, cache: Path, context: str) -> Plan:
    recipe = folder / "hrc.toml"
    recipe.write_text(
        f"""format = 1
name = "hrc"
[observations]
ids = {[root.upper() for root in HRC]}
archive = {{ folder = "{shared_dir}/real/raw_hrc" }}
[references]
context = "{context}"
cache = "{cache}"
"""
    )
    return build_plan(load_recipe(recipe))


@pytest.mark.parametrize("context", ["hst_0500.pmap", "hst_0729.pmap"])
def test_a_plan_of_real_raws_has_the_references_that_bestrefs_writes(shared_dir, tmp_path, cache, context):
    plan = plan_hrc(shared_dir, tmp_path, cache, context)
    copies = [tmp_path / f"{root}_raw.fits" for root in HRC]
    for copy in copies:
        shutil.copyfile(shared_dir / "real" / "raw_hrc" / copy.name, copy)
    before = {copy.name: fits.getheader(copy) for copy in copies}
    environment = {"PATH": os.defpath, "HOME": str(tmp_path), "CRDS_PATH": str(cache), "CRDS_OBSERVATORY": "hst"}
    command = [sys.executable, "-m", "crds.bestrefs", "--new-context", context, "--update-bestrefs", "--files"]
    done = subprocess.run([*command, *map(str, copies)], env=environment, capture_output=True, text=True, timeout=120)
    assert " 0 errors" in done.stderr
    assert len(plan.reference_changes) >= 9
    for copy in copies:
        written = fits.getheader(copy)
        changes = {one.keyword: one for one in plan.reference_changes if one.file.endswith(copy.name)}
        keywords = {key for key in written if key.endswith(("FILE", "TAB")) and str(written[key]).strip()}
        for keyword in sorted(keywords):
            planned = changes[keyword].new if keyword in changes else before[copy.name].get(keyword, "N/A")
            assert planned.upper() == written[keyword].upper(), (copy.name, keyword)
        for change in changes.values():
            assert change.why.context == context
            assert change.why.mapping.endswith(".rmap")
            assert change.why.useafter or change.why.kind == "irrelevant"
        context_change = next(one for one in plan.header_changes if one.file.endswith(copy.name))
        assert (context_change.keyword, context_change.new) == ("CRDS_CTX", written["CRDS_CTX"])


def test_a_recipe_gives_a_real_flt_the_wcs_that_stwcs_gives_it(shared_dir, tmp_path, cache):
    data = tmp_path / "data"
    data.mkdir()
    flt = data / "j94f05bgq_flt.fits"
    flt.write_bytes(gzip.decompress((shared_dir / "real" / "flt_wfc" / "j94f05bgq_flt.fits.gz").read_bytes()))
    delivered = flt.read_bytes()
    files = {"IDCTAB": "0461802ej_idc", "D2IMFILE": "02c1450oj_d2i", "NPOLFILE": "02c14514j_npl"}
    overrides = "\n".join(f'{keyword} = "{shared_dir}/real/distortion/{name}.fits"' for keyword, name in files.items())
    recipe = tmp_path / "wcs.toml"
    recipe.write_text(
        f"""format = 1
name = "wcs"
[observations]
ids = ["J94F05BGQ"]
archive = {{ folder = "data" }}
products = ["FLT"]
[references]
context = "hst_0729.pmap"
cache = "{cache}"
[references.override]
{overrides}
[calibrate]
engine = "none"
[provenance]
stamp = false
[[post]]
step = "updatewcs"
"""
    )
    loaded = load_recipe(recipe)
    plan = build_plan(loaded)
    assert plan.runnable, plan.findings
    result = run_plan(plan, loaded, tmp_path / "run", environment=Environment.of(os.environ), jobs=1)
    assert result.succeeded, result.failed
    assert flt.read_bytes() == delivered

    # The same by hand: the notebook's last step, on a copy with the same reference names in its header.
    by_hand = tmp_path / "by_hand"
    (by_hand / "jref").mkdir(parents=True)
    shutil.copyfile(flt, by_hand / flt.name)
    with fits.open(by_hand / flt.name, mode="update") as hdus:
        for keyword, name in files.items():
            hdus[0].header[keyword] = f"jref${name}.fits"
            shutil.copyfile(shared_dir / "real" / "distortion" / f"{name}.fits", by_hand / "jref" / f"{name}.fits")
    code = f"from stwcs.updatewcs import updatewcs; updatewcs({flt.name!r}, use_db=False)"
    environment = {"PATH": os.defpath, "HOME": str(tmp_path), "jref": f"{by_hand}/jref/"}
    done = subprocess.run([sys.executable, "-c", code], cwd=by_hand, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with fits.open(by_hand / flt.name) as expected, fits.open(tmp_path / "run" / "products" / flt.name) as made:
        assert [hdu.name for hdu in made] == [hdu.name for hdu in expected]
        assert made["SCI", 1].header["WCSNAME"].startswith("IDC_")
        for one, other in zip(made, expected, strict=True):
            assert str(one.header) == str(other.header)
