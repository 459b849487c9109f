"""What the rest of the program may know of the environment: a small value that cli makes and passes down."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

PASSED_ON = ("PATH", "HOME", "TMPDIR", "SYSTEMROOT", "NUMBA_CACHE_DIR", "NUMBA_DISABLE_JIT", "VIRTUAL_ENV")
"""Variables that a worker process gets; everything else (jref, imclobber, LD_PRELOAD, tokens) stays behind."""


@dataclass(frozen=True)
class Environment:
    """The few variables that count.

    Attributes
    ----------
    crds_path : str
        ``CRDS_PATH``: the CRDS cache, where the recipe names none.
    crds_server : str
        ``CRDS_SERVER_URL``; empty is serverless mode.
    search_path : str
        ``PATH``: where calacs.e is looked for.
    passed_on : mapping
        What worker processes get.
    """

    crds_path: str = ""
    crds_server: str = ""
    search_path: str = ""
    passed_on: Mapping[str, str] | None = None

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> Environment:
        """Take what counts out of a mapping such as ``os.environ``."""
        passed_on = {name: variables[name] for name in PASSED_ON if name in variables}
        return cls(
            crds_path=variables.get("CRDS_PATH", ""),
            crds_server=variables.get("CRDS_SERVER_URL", ""),
            search_path=variables.get("PATH", os.defpath),
            passed_on={**passed_on, "LANG": "C.UTF-8", "PYTHONNOUSERSITE": "1"},
        )
