"""A full-size WFC association of 2006 with real rules: golden headers, pixels that are holes in the file."""

from __future__ import annotations

import shutil
from pathlib import Path

from astropy.io import fits

BLOCK = 2880


def make_association(shared: Path, folder: Path) -> Path:
    """Write data/ (RAW, SPT, ASN of a dithered pair at true size), crds/ (real rules), and give the recipe's path."""
    golden = shared / "golden" / "pre_dth" / "data"
    (folder / "data").mkdir(parents=True)
    for source in sorted(golden.iterdir()):
        target = folder / "data" / source.name
        if source.name.endswith("_raw.fits"):
            write_full_size(source, target)
        else:
            shutil.copyfile(source, target)
    shutil.copytree(shared / "real" / "crds_cache", folder / "crds", copy_function=shutil.copyfile)
    for path in [folder / "crds", *(folder / "crds").rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    recipe = folder / "recipe.toml"
    recipe.write_text(RECIPE)
    return recipe


def write_full_size(source: Path, target: Path) -> None:
    """Write a RAW with the headers of a small one, each chip 4144 x 2068; the pixels take no room on the disk."""
    with fits.open(source) as hdus, target.open("wb") as file:
        for hdu in hdus:
            header = hdu.header.copy()
            pixels = 0
            if hdu.name == "PRIMARY":
                header["DATE-OBS"] = "2006-03-14"
            if hdu.name == "SCI":
                header["NAXIS1"], header["NAXIS2"] = 4144, 2068
                header["LTV1"], header["LTV2"] = 24.0, 0.0
                pixels = 2 * 4144 * 2068
            file.write(header.tostring().encode("ascii"))
            file.truncate(file.tell() + -(-pixels // BLOCK) * BLOCK)
            file.seek(0, 2)


RECIPE = """\
format = 1
name = "real-2006"
[observations]
ids = ["J9SY01010"]
archive = { folder = "data" }
[association]
keep = { MEMTYPE = ["EXP-DTH"] }
[switches]
PCTECORR = "PERFORM"
[references]
context = "hst_0729.pmap"
cache = "crds"
[calibrate]
engine = "embedded"
"""
