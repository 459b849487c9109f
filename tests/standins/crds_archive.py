"""A small CRDS archive on disk: mappings with valid checksums, references, and the catalogue of them all."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pprint import pformat

DARK_RULES = """Match({
    ('WFC', 'ABCD', '1.0|2.0') : UseAfter({
        '2002-03-01 00:00:00' : 'aaa0001ij_drk.fits',
        '2006-03-01 00:00:00' : 'bbb0002ij_drk.fits',
    }),
})"""
DARK_RULES_LATER = DARK_RULES.replace("bbb0002ij", "ccc0003ij")
TABLE_RULES = """Match({
    ('WFC',) : UseAfter({
        '2002-03-01 00:00:00' : 'ddd0004ij_cte.fits',
    }),
})"""


@dataclass
class Archive:
    """What a CRDS server holds: files by name, contexts, and which of them is the latest."""

    mappings: dict[str, bytes] = field(default_factory=dict)
    references: dict[str, bytes] = field(default_factory=dict)
    latest: str = ""
    bad: tuple[str, ...] = ()

    def catalogue(self) -> dict[str, dict[str, str]]:
        files = self.mappings | self.references
        return {
            name: {"size": str(len(content)), "sha1sum": hashlib.sha1(content).hexdigest()}
            for name, content in files.items()
        }

    def info(self, base: str = "none") -> dict[str, object]:
        """The answer of `get_server_info`, with files served below `base`."""
        folders = {f"{kind}_url": {"hst": f"{base}/{kind}" if base != "none" else "none"} for kind in KINDS}
        return {
            "observatory": "hst",
            "operational_context": self.latest,
            "latest_context": self.latest,
            "edit_context": self.latest,
            "bad_files": " ".join(self.bad),
            "bad_files_list": list(self.bad),
            "mappings": sorted(self.mappings),
            "force_remote_mode": 0,
            "crds_version": {"str": "13.0.0"},
            "max_headers_per_rpc": 500,
            "last_synced": "2026-01-02 03:04:05.000000",
            "download_metadata": encode(self.catalogue()),
            **folders,
        }

    def closure(self, context: str) -> list[str]:
        """Every mapping that a context names, itself included."""
        found, waiting = [], [context]
        while waiting:
            name = waiting.pop()
            if name in self.mappings and name not in found:
                found.append(name)
                text = self.mappings[name].decode()
                waiting += [other for other in self.mappings if f": '{other}'" in text]
        return sorted(found)


KINDS = ("config", "mapping", "reference", "pickle")


def encode(data: object) -> dict[str, str]:
    packed = gzip.compress(json.dumps(data).encode(), mtime=0)
    return {"crds_encoded": "1.0", "crds_payload": base64.b64encode(packed).decode()}


def write_mapping(header: Mapping[str, object], selector: str) -> bytes:
    """Write a mapping's text with its checksum, as CRDS does."""
    lines = [f"    {key!r} : {value!r},\n" for key, value in sorted(header.items())]
    before, after = "header = {\n", f"}}\n\nselector = {selector}\n"
    sha1 = hashlib.sha1((before + "".join(lines) + after).encode()).hexdigest()
    return (before + "".join(lines) + f"    'sha1sum' : '{sha1}',\n" + after).encode()


def write_rmap(name: str, kind: str, parkey: tuple[str, ...], selector: str, **header: object) -> bytes:
    common: dict[str, object] = {
        "derived_from": "generated",
        "filekind": kind.upper(),
        "instrument": "ACS",
        "mapping": "REFERENCE",
        "name": name,
        "observatory": "HST",
        "parkey": (parkey, ("DATE-OBS", "TIME-OBS")),
        "reffile_format": "IMAGE",
        "reffile_required": "YES",
    }
    return write_mapping(common | header, selector)


def write_context(number: int, rmaps: Mapping[str, str]) -> dict[str, bytes]:
    """Write a .pmap and its ACS .imap; another instrument's .imap is named too, and nowhere to be had."""
    imap = f"hst_acs_{number:04d}.imap"
    pmap = f"hst_{number:04d}.pmap"
    top = {"derived_from": "generated", "observatory": "HST"}
    return {
        pmap: write_mapping(
            top | {"mapping": "PIPELINE", "name": pmap, "parkey": ("INSTRUME",)},
            f"{{\n    'ACS' : '{imap}',\n    'COS' : 'hst_cos_{number:04d}.imap',\n}}",
        ),
        imap: write_mapping(
            top | {"mapping": "INSTRUMENT", "name": imap, "instrument": "ACS", "parkey": ("REFTYPE",)},
            "{\n" + "".join(f"    {kind!r} : {name!r},\n" for kind, name in sorted(rmaps.items())) + "}",
        ),
    }


def make_archive() -> Archive:
    """Two contexts that differ by one dark; a CTE table; one type that does not apply to ACS at all."""
    files = {
        f"hst_acs_darkfile_{number:04d}.rmap": write_rmap(
            f"hst_acs_darkfile_{number:04d}.rmap",
            "darkfile",
            ("DETECTOR", "CCDAMP", "CCDGAIN"),
            rules,
            reffile_switch="DARKCORR",
            rmap_relevance='(DARKCORR != "OMIT")',
        )
        for number, rules in ((1, DARK_RULES), (2, DARK_RULES_LATER))
    }
    files["hst_acs_pctetab_0001.rmap"] = write_rmap(
        "hst_acs_pctetab_0001.rmap",
        "pctetab",
        ("DETECTOR",),
        TABLE_RULES,
        reffile_switch="PCTECORR",
        rmap_relevance='((DETECTOR == "WFC") and (PCTECORR != "OMIT"))',
    )
    archive = Archive(mappings=files, latest="hst_0002.pmap")
    for number in (1, 2):
        rmaps = {
            "darkfile": f"hst_acs_darkfile_{number:04d}.rmap",
            "pctetab": "hst_acs_pctetab_0001.rmap",
            "mlintab": "N/A",
        }
        archive.mappings |= write_context(number, rmaps)
    for name in ("aaa0001ij_drk", "bbb0002ij_drk", "ccc0003ij_drk", "ddd0004ij_cte"):
        archive.references[f"{name}.fits"] = make_fits(name)
    return archive


def make_fits(name: str, blocks: int = 2) -> bytes:
    """A valid FITS file of its own: a primary header and an image whose pixels spell its name."""
    cards = ["SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   =                    1"]
    cards += [f"NAXIS1  = {2880 * blocks:>20d}", f"FILENAME= '{name}.fits'", "END"]
    return "".join(f"{card:<80}" for card in cards).ljust(2880).encode() + (name.encode() * 2880)[: 2880 * blocks]


def write_cache(
    archive: Archive, root: Path, layout: str = "flat", references: bool = True, catalogue: bool = True
) -> Path:
    """Write an archive as a CRDS cache that has synced it all."""
    config = root / "config" / "hst"
    mappings = root / "mappings" / "hst"
    folder = root / "references" / "hst"
    folder = folder / "acs" if layout == "instrument" else folder
    for one in (config, mappings, folder):
        one.mkdir(parents=True, exist_ok=True)
    (config / "ref_cache_subdir_mode").write_text(layout + "\n")
    info = archive.info()
    if not catalogue:
        del info["download_metadata"]
    (config / "server_config").write_text(pformat(info))
    (config / "bad_files.txt").write_text("\n".join(archive.bad))
    for name, content in archive.mappings.items():
        (mappings / name).write_bytes(content)
    for name, content in archive.references.items() if references else ():
        (folder / name).write_bytes(content)
    return root
