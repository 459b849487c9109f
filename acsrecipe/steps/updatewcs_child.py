"""Run stwcs.updatewcs on files in the current folder; started by :mod:`acsrecipe.steps.updatewcs`, not by people.

It edits the files in place. All that it reads from its environment (``jref``, ``ASTROMETRY_*``) its parent set.
"""

from __future__ import annotations

import json
import sys

FAILED = 1
NO_SERVICE = 3

AVAILABILITY_TIMEOUT = 5.0
"""Seconds that the astrometry service has to answer; stwcs itself would try for two minutes, and then go on without."""


def main(argv: list[str]) -> int:
    """Do what ``argv[1]`` says, as JSON: ``files``, ``use_db``, ``service``."""
    wanted = json.loads(argv[1])
    if wanted["use_db"]:
        problem = _refusal_of(wanted["service"])
        if problem:
            sys.stdout.write(problem + "\n")
            return NO_SERVICE
    try:
        _update(wanted["files"], use_db=wanted["use_db"])
    except Exception as error:  # Whatever stwcs raises: its parent tells it to people.
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
        sys.stdout.write(f"{type(error).__name__}: {error}\n")
        return FAILED
    return 0


def _update(files: list[str], *, use_db: bool) -> None:
    from astropy.utils import iers
    from astropy.utils.data import conf

    # Without the service nothing here has a reason to use a network.
    conf.allow_internet = use_db
    iers.conf.auto_download = use_db
    from stwcs import updatewcs

    updatewcs.updatewcs(files, use_db=use_db)


def _refusal_of(service: str) -> str:
    """Say why the service can't be used, or nothing where it answers."""
    import requests

    try:
        answer = requests.get(service + "availability", timeout=AVAILABILITY_TIMEOUT)
    except requests.RequestException as error:
        return f"{service} does not answer: {type(error).__name__}"
    return "" if answer.status_code == requests.codes.ok else f"{service} answers with status {answer.status_code}"


if __name__ == "__main__":
    sys.exit(main(sys.argv))
