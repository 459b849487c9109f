"""The CRDS rules, read by CRDS itself."""

import ast
import base64
import gzip
import hashlib
import json
import os
import subprocess
import sys

import pytest
from astropy.io import fits

from acsrecipe.demo.dataset import make_dataset
from acsrecipe.demo.headers import switches
from acsrecipe.demo.modes import MODES
from acsrecipe.demo.rules import RULES, choose_references

ASK = """
import json, sys, crds
from crds import data_file
out = {}
for raw in sys.argv[2:]:
    header = data_file.get_free_header(raw, (), None, "hst")
    for context in ("hst_0001.pmap", "hst_0002.pmap"):
        kinds = sys.argv[1].split()
        found = crds.getrecommendations(header, reftypes=kinds, context=context, observatory="hst", fast=True)
        out[raw + " " + context] = found
print("RESULT", json.dumps(out))
"""


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    names = ("pre_dth", "post_dth", "post_ramp", "pre_cr", "pre_rpt", "post_bias")
    return {name: make_dataset(tmp_path_factory.mktemp(name) / "demo", mode=name, exposures=1) for name in names}


def ask_crds(dataset, raws):
    environment = {**os.environ, "CRDS_PATH": str(dataset.crds), "CRDS_OBSERVATORY": "hst", "CRDS_READONLY_CACHE": "1"}
    command = [sys.executable, "-c", ASK, " ".join(kind.lower() for kind in RULES), *map(str, raws)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    return json.loads(line.removeprefix("RESULT "))


@pytest.mark.parametrize("name", ["pre_dth", "post_dth", "post_ramp", "pre_cr", "pre_rpt", "post_bias"])
def test_crds_chooses_what_the_rules_mean_in_both_contexts(datasets, name):
    dataset = datasets[name]
    (raw,) = dataset.data.glob("*_raw.fits")
    found = ask_crds(dataset, [raw])
    mode = MODES[name]
    for edition, context in enumerate(dataset.contexts, 1):
        expected = choose_references(switches(mode), mode, edition)
        chosen = found[f"{raw} {context}"]
        for kind in RULES:
            answer = chosen[kind.lower()]
            if expected[kind] == "N/A":
                assert answer == "NOT FOUND n/a", kind
            else:
                assert f"jref${answer}" == expected[kind]
                assert (dataset.crds / "references" / "hst" / answer).is_file()


def test_raw_headers_name_what_the_old_context_chose(datasets):
    for name, dataset in datasets.items():
        (raw,) = dataset.data.glob("*_raw.fits")
        header = fits.getheader(raw)
        assert header["CRDS_CTX"] == dataset.contexts[0]
        for kind, value in choose_references(switches(MODES[name]), MODES[name], 1).items():
            assert header[kind] == value


def test_the_new_context_changes_five_references_of_the_notebooks_case():
    mode = MODES["pre_dth"]
    old, new = (choose_references(switches(mode), mode, edition) for edition in (1, 2))
    assert {kind for kind in old if old[kind] != new[kind]} == {
        "BIASFILE",
        "BPIXTAB",
        "DARKFILE",
        "DRKCFILE",
        "IMPHTTAB",
    }


def test_every_mapping_says_its_own_checksum(datasets):
    mappings = sorted((datasets["pre_dth"].crds / "mappings" / "hst").iterdir())
    assert len(mappings) == 2 * 2 + len(RULES) + 5
    for path in mappings:
        lines = path.read_text().splitlines(keepends=True)
        (stated,) = [line for line in lines if "'sha1sum'" in line]
        digest = hashlib.sha1("".join(line for line in lines if line != stated).encode()).hexdigest()
        assert stated.strip() == f"'sha1sum' : '{digest}',"
        assert f"'name' : '{path.name}'" in path.read_text()


def test_the_catalogue_has_size_and_sha1_of_every_file(datasets):
    crds = datasets["pre_dth"].crds
    info = ast.literal_eval((crds / "config" / "hst" / "server_config").read_text())
    packed = info["download_metadata"]["crds_payload"]
    catalogue = json.loads(gzip.decompress(base64.b64decode(packed)))
    files = [*(crds / "mappings" / "hst").iterdir(), *(crds / "references" / "hst").iterdir()]
    assert catalogue.keys() == {path.name for path in files}
    for path in files:
        content = path.read_bytes()
        assert catalogue[path.name] == {"size": str(len(content)), "sha1sum": hashlib.sha1(content).hexdigest()}
