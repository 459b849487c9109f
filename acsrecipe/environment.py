"""What the rest of the program may know of the environment: a small value that cli makes and passes down."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from acsrecipe.inputs.crds_cache import Patience

PASSED_ON = (
    *("PATH", "HOME", "TMPDIR", "SYSTEMROOT", "NUMBA_CACHE_DIR", "NUMBA_DISABLE_JIT", "VIRTUAL_ENV"),
    *("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
)
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
    mast_server : str
        ``MAST_SERVER``; empty is MAST itself.
    downloads : str
        ``ACSRECIPE_CACHE``: the folder for downloads; empty is the one that the system's customs name.
    offline : bool
        Never touch the network.
    ask_token : callable or None
        Gives the MAST token, or an empty text; called only for data that are not public.
    connections : int
        Downloads at once.
    deadline : float
        Seconds that one download may take, all attempts together.
    patience : Patience or None
        How long servers may take for what; None is the usual.
    passed_on : mapping
        What worker processes get.
    """

    crds_path: str = ""
    crds_server: str = ""
    search_path: str = ""
    mast_server: str = ""
    downloads: str = ""
    offline: bool = False
    ask_token: Callable[[], str] | None = field(default=None, repr=False, compare=False)
    connections: int = 4
    deadline: float = 7200.0
    patience: Patience | None = None
    passed_on: Mapping[str, str] | None = None

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> Environment:
        """Take what counts out of a mapping such as ``os.environ``."""
        passed_on = {name: variables[name] for name in PASSED_ON if name in variables}
        return cls(
            crds_path=variables.get("CRDS_PATH", ""),
            crds_server=variables.get("CRDS_SERVER_URL", ""),
            search_path=variables.get("PATH", os.defpath),
            mast_server=variables.get("MAST_SERVER", ""),
            downloads=variables.get("ACSRECIPE_CACHE", ""),
            ask_token=lambda: variables.get("MAST_API_TOKEN", ""),
            passed_on={**passed_on, "LANG": "C.UTF-8", "PYTHONNOUSERSITE": "1"},
        )
