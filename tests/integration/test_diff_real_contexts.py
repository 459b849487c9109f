"""Two real CRDS contexts: exactly the references that the crds package changes, each with its rule and USEAFTER."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from astropy.io import fits
from real_association import make_association

from acsrecipe.demo.dataset import make_dataset

EIGHT = {
    "BIASFILE": ("q3v1639aj_bia.fits", "2581507sj_bia.fits"),
    "BPIXTAB": ("q860440tj_bpx.fits", "25g1256nj_bpx.fits"),
    "DARKFILE": ("q3v1639pj_drk.fits", "25815032j_drk.fits"),
    "DRKCFILE": ("z5m1236mj_dkc.fits", "25815064j_dkc.fits"),
    "IMPHTTAB": ("08b18470j_imp.fits", "2391649qj_imp.fits"),
    "MDRIZTAB": ("ub21537aj_mdz.fits", "37g1550cj_mdz.fits"),
    "OSCNTAB": ("lch1459bj_osc.fits", "17717071j_osc.fits"),
    "PCTETAB": ("xa81724cj_cte.fits", "19i16323j_cte.fits"),
}
RAWS = ("j8bt05njq", "j8bt06o6q", "j8bt09jcq")


def acsrecipe(*args: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {key: os.environ[key] for key in ("HOME", "TMPDIR") if key in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "acsrecipe", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=cwd,
        env={**environment, "PATH": "/usr/bin:/bin", "COLUMNS": "100"},
    )


def test_a_full_frame_association_of_2006_changes_exactly_eight_references(shared_dir, tmp_path):
    recipe = make_association(shared_dir, tmp_path / "real")
    command = ("diff", recipe, "--context", "hst_0500.pmap", "hst_0729.pmap")
    done = acsrecipe(*command, "--json")
    assert done.returncode == 10, done.stderr
    found = json.loads(done.stdout)
    changed = {
        one["keyword"]: (one["a"].removeprefix("jref$"), one["b"].removeprefix("jref$")) for one in found["references"]
    }
    assert changed == EIGHT
    for one in found["references"]:
        assert one["files"] == ["j9sy01a1q_raw.fits", "j9sy01a2q_raw.fits"]
        for side, context in (("why_a", "hst_0500.pmap"), ("why_b", "hst_0729.pmap")):
            why = one[side]
            assert why["context"] == context
            assert why["mapping"].startswith(f"hst_acs_{one['keyword'].lower()}_")
            assert why["matched"]["DETECTOR"] == "WFC"
            assert why["useafter"][:2] in ("19", "20")
        assert one["reason"]
        assert one["why_b"]["useafter"] in one["reason"]
    assert found["switches"] == []
    assert [one["keyword"] for one in found["headers"]] == ["CRDS_CTX"]
    assert [one["id"] for one in found["tasks"]] == ["calibrate/j9sy01a1q", "calibrate/j9sy01a2q"]
    text = acsrecipe(*command).stdout
    assert all(f"  {keyword}: {old} -> {new}" in text for keyword, (old, new) in EIGHT.items())
    assert "1 header card, 8 references, 2 tasks differ." in text
    same = acsrecipe("diff", recipe, "--context", "hst_0729.pmap", "hst_0729.pmap")
    assert (same.returncode, same.stdout.splitlines()[-1]) == (0, "No differences.")


def test_three_real_hrc_exposures_change_as_the_bestrefs_command_says(shared_dir, tmp_path):
    folder = tmp_path / "hrc"
    (folder / "data").mkdir(parents=True)
    shutil.copytree(shared_dir / "real" / "crds_cache", folder / "crds", copy_function=shutil.copyfile)
    for path in [folder / "crds", *(folder / "crds").rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    for root in RAWS:
        shutil.copyfile(shared_dir / "real" / "raw_hrc" / f"{root}_raw.fits", folder / "data" / f"{root}_raw.fits")
    ids = ", ".join(f'"{root.upper()}"' for root in RAWS)
    recipe = folder / "hrc.toml"
    recipe.write_text(
        f'format = 1\nname = "hrc"\n[observations]\nids = [{ids}]\narchive = {{ folder = "data" }}\n'
        'products = ["RAW"]\n[references]\ncache = "crds"\ncontext = "hst_0729.pmap"\n'
    )
    done = acsrecipe("diff", recipe, "--context", "hst_0500.pmap", "hst_0729.pmap", "--json")
    assert done.returncode == 10, done.stderr
    ours = {
        (file[:9], one["keyword"], one["a"], one["b"])
        for one in json.loads(done.stdout)["references"]
        for file in one["files"]
    }
    written = {context: bestrefs(folder, context, tmp_path) for context in ("hst_0500.pmap", "hst_0729.pmap")}
    theirs = {
        (root, keyword, old, written["hst_0729.pmap"][root][keyword])
        for root, cards in written["hst_0500.pmap"].items()
        for keyword, old in cards.items()
        if old.lower() != written["hst_0729.pmap"][root][keyword].lower()
    }
    assert ours == theirs
    assert len(ours) > 3


def bestrefs(folder: Path, context: str, home: Path) -> dict[str, dict[str, str]]:
    """What the command writes into headers, by rootname and keyword."""
    copies = home / context
    shutil.copytree(folder / "data", copies, copy_function=shutil.copyfile)
    files = sorted(copies.glob("*_raw.fits"))
    for file in files:
        file.chmod(0o644)
    environment = {"PATH": os.defpath, "HOME": str(home), "CRDS_PATH": str(folder / "crds"), "CRDS_OBSERVATORY": "hst"}
    command = [sys.executable, "-m", "crds.bestrefs", "--new-context", context, "--update-bestrefs", "--files"]
    done = subprocess.run([*command, *map(str, files)], env=environment, capture_output=True, text=True, timeout=120)
    assert " 0 errors" in done.stderr
    headers = {file.name[:9]: fits.getheader(file) for file in files}
    return {
        root: {key: str(header[key]) for key in header if key.endswith(("FILE", "TAB")) and key not in ("ASN_TAB",)}
        for root, header in headers.items()
    }


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("diff") / "demo", seed=1, mode="pre_dth")


def test_a_revision_of_a_recipe_is_compared_with_the_file_as_it_is(demo, tmp_path):
    folder = tmp_path / "repository"
    shutil.copytree(demo.folder, folder)
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "init.defaultBranch=main"]
    for arguments in (["init", "-q"], ["add", "recipe.toml"], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *arguments], check=True, capture_output=True)
    recipe = folder / "recipe.toml"
    before = recipe.read_text()
    recipe.write_text(before.replace('PCTECORR = "OMIT"', 'PCTECORR = "PERFORM"'))
    done = acsrecipe("diff", f"{recipe}@HEAD", recipe, "--json", cwd=tmp_path)
    assert done.returncode == 10, done.stderr
    found = json.loads(done.stdout)
    assert [(one["keyword"], one["a"], one["b"]) for one in found["switches"]] == [("PCTECORR", "OMIT", "PERFORM")]
    relevant = {one["keyword"]: one["reason"] for one in found["references"]}
    assert set(relevant) == {"DRKCFILE", "PCTETAB"}
    assert all(reason.startswith("became relevant") for reason in relevant.values())
    recipe.write_text(before)
    assert acsrecipe("diff", f"{recipe}@HEAD", recipe).returncode == 0
    missing = acsrecipe("diff", f"{recipe}@no-such", recipe)
    assert missing.returncode == 2
    assert "git does not give it" in missing.stderr
    evil = acsrecipe("diff", f"{recipe}@--output=x", recipe)
    assert (evil.returncode, "is not the name of a git revision" in evil.stderr) == (2, True)


def test_two_demo_contexts_say_which_changes_matter(demo):
    done = acsrecipe("diff", demo.recipe, "--context", "hst_0001.pmap", "hst_0002.pmap")
    assert done.returncode == 10, done.stderr
    assert "differs in SCI,1" in done.stdout


def test_what_is_no_plan_recipe_or_run_is_refused(demo, tmp_path):
    (tmp_path / "x.json").write_text("{}")
    refused = [
        acsrecipe("diff", demo.recipe),
        acsrecipe("diff", tmp_path, demo.recipe),
        acsrecipe("diff", tmp_path / "x.json", demo.recipe),
        acsrecipe("diff", demo.recipe, "--context", "0500", "hst_0001.pmap"),
    ]
    assert [one.returncode for one in refused] == [2, 2, 2, 2]
    assert all("hint: " in one.stderr for one in refused)
