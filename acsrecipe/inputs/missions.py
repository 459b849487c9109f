"""What MAST lists: datasets and their files, asked for with astroquery.

``MastMissions`` is asked, not ``Observations``: its product list says who may have a file *before* anything is
downloaded, takes rootnames as they are (no numeric ``obsid`` to look up first), and answers with a tenth of the
columns. astroquery only lists: what it downloads it neither verifies nor bounds in time, see docs/archives.md.
"""

from __future__ import annotations

import re
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

from acsrecipe.errors import ArchiveError
from acsrecipe.inputs.wire import LastingError, MastSettings, PassingError, failure, patiently, refuse_status

MISSION = "hst"
AT_ONCE = 1000
"""Datasets asked about in one request: astroquery cuts longer lists itself, but prints while it does."""
MOST_DATASETS = 20000
_PAGE = 5000
_NAME = re.compile(r"(j[a-z0-9]{8})_([a-z0-9]{3})\.fits", re.ASCII)
_T = TypeVar("_T")


@dataclass(frozen=True)
class Listed:
    """A file as MAST lists it.

    Attributes
    ----------
    rootname, suffix : str
        ``j9l960a7q``, ``raw``.
    size : int
        Bytes; -1 where the list does not say.
    source : str
        The address to get it from.
    public : bool
        Whether anybody may have it.
    """

    rootname: str
    suffix: str
    size: int
    source: str
    public: bool

    @property
    def name(self) -> str:
        """Its name, made of what the list says of it, never a path."""
        return f"{self.rootname}_{self.suffix}.fits"


class Missions:
    """MAST's missions interface, for HST.

    Parameters
    ----------
    settings : MastSettings
        Each question is answered within a tenth of its ``deadline``, attempts and all.
    """

    def __init__(self, settings: MastSettings) -> None:
        self.settings = settings
        self._client: Any = None

    def datasets(self, pattern: str, proposal: int | None = None) -> list[str]:
        """Name the ACS datasets (associations, and exposures without one) that match ``*`` wildcards.

        Raises
        ------
        ArchiveError
            M001 MAST can't be asked; M002 its answer makes no sense; M012 there are too many.
        """
        criteria: dict[str, Any] = {"sci_data_set_name": pattern, "sci_instrume": "ACS"}
        if proposal is not None:
            criteria["sci_pep_id"] = proposal
        found: list[str] = []
        while True:
            page = {"limit": _PAGE, "offset": len(found), "select_cols": ["sci_instrume", "sci_pep_id"]}
            table = self._ask(f"which datasets match {pattern}", partial(_query, **page, **criteria))
            rows = [str(name).strip().upper() for name in _column(table, "sci_data_set_name", self.settings.server)]
            found += rows
            if len(rows) < _PAGE:
                return sorted({name for name in found if re.fullmatch(r"J[A-Z0-9]{8}", name)})
            if len(found) >= MOST_DATASETS:
                msg = f"more than {MOST_DATASETS} datasets match {pattern}"
                raise ArchiveError(msg, where="[observations]", hint="name a proposal, or longer ids", code="M012")

    def products(self, datasets: Sequence[str]) -> list[Listed]:
        """List the ACS files of datasets; those whose names are not of the form ``j9l960a7q_raw.fits`` are left out.

        Raises
        ------
        ArchiveError
            M001, M002 as :meth:`datasets`.
        """
        found: list[Listed] = []
        for at in range(0, len(datasets), AT_ONCE):
            some = [name.upper() for name in datasets[at : at + AT_ONCE]]
            what = f"which files belong to {', '.join(some[:3])}{' ...' if len(some) > 3 else ''}"
            table = self._ask(what, partial(_product_list, datasets=some))
            found += self._read(table)
        return found

    def _read(self, table: Any) -> Iterable[Listed]:
        if not len(table):
            return
        columns = [_column(table, name, self.settings.server) for name in ("filename", "uri", "size", "access")]
        for name, uri, size, who in zip(*columns, strict=True):
            form = _NAME.fullmatch(str(name))
            text = str(uri)
            if form is None or not 0 < len(text) <= 300 or not text.isprintable():
                continue
            try:
                count = int(size)
            except (TypeError, ValueError):
                count = -1
            base = f"{self.settings.server.rstrip('/')}/search/{MISSION}/api/v0.1/retrieve_product"
            source = f"{base}?product_name={quote(text, safe='')}"
            yield Listed(form[1], form[2], count if count > 0 else -1, source, str(who).strip().upper() == "PUBLIC")

    def _ask(self, what: str, question: Callable[[Any], _T]) -> _T:
        deadline = self.settings.deadline / 10
        until = time.monotonic() + deadline

        def once() -> _T:
            if self._client is None:
                self._client = _connect(self.settings)
            return _translated(lambda: question(self._client), self.settings.server.rstrip("/"))

        try:
            return _within(deadline, lambda: patiently(once, self.settings.patience, until, lambda text: None))
        except _NonsenseError as error:
            msg = f"MAST was asked {what}; {error}"
            hint = "is it MAST? MAST_SERVER names it; then try again later"
            raise ArchiveError(msg, where=self.settings.server, hint=hint, code="M002") from error
        except LastingError as error:
            msg = f"MAST can't be asked {what}: {error}"
            hint = "look at the network, and try again; --offline plans with what was downloaded before"
            raise ArchiveError(msg, where=self.settings.server, hint=hint, code="M001") from error


class _NonsenseError(LastingError):
    """An answer that is none."""


class _Timed:
    """A transport that never waits without end, which astroquery's own requests would."""

    def __init__(self, settings: MastSettings) -> None:
        from requests.adapters import HTTPAdapter

        self.inner = HTTPAdapter()
        self.timeout = (settings.patience.connect, settings.patience.silence)

    def send(self, request: Any, **options: Any) -> Any:
        return self.inner.send(request, **{**options, "timeout": self.timeout})

    def close(self) -> None:
        self.inner.close()


def _connect(settings: MastSettings) -> Any:
    """Make astroquery's client talk with our server: its addresses are fixed when it is imported."""
    from astroquery.mast import MastMissionsClass

    client = MastMissionsClass(mission=MISSION)
    server = settings.server.rstrip("/")
    service = client._service_api_connection
    service.SERVICE_URL = server
    service.MISSIONS_DOWNLOAD_URL = f"{server}/search/"
    client.mission = MISSION  # makes its request address anew
    session = service._session
    transport = _Timed(settings)
    session.mount("https://", transport)
    session.mount("http://", transport)
    # Before astroquery makes one error of all: only some of them heal.
    session.hooks["response"].append(lambda answer, *_, **__: refuse_status(answer, settings.patience))
    return client


def _translated(question: Callable[[], _T], server: str) -> _T:
    """Ask, and sort what astroquery raises into what may heal and what will not."""
    import requests
    from astroquery.exceptions import InvalidQueryError
    from astroquery.mast import conf

    try:
        # The list of columns is asked for at the configured server, whatever the client was told.
        with warnings.catch_warnings(), conf.set_temp("server", server):
            warnings.simplefilter("ignore")  # "no results" and "maximum results": both are looked at here
            return question()
    except (PassingError, LastingError):
        raise
    except (KeyError, ValueError, TypeError, AttributeError, IndexError, InvalidQueryError) as error:
        # requests' JSONDecodeError is a ValueError, too.
        msg = f"its answer is not what MAST answers ({type(error).__name__})"
        raise _NonsenseError(msg) from error
    except (requests.RequestException, OSError, RuntimeError) as error:
        raise failure(error) from error


def _within(seconds: float, call: Callable[[], _T]) -> _T:
    """Call in a thread of its own, and give up on it in time: the answer may come a byte a second."""
    done: list[_T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(call())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not done:
        msg = f"no whole answer came in {seconds:.0f} s"
        raise LastingError(msg)
    return done[0]


def _query(client: Any, **options: Any) -> Any:
    return client.query_criteria(**options)


def _product_list(client: Any, datasets: list[str]) -> Any:
    return client.get_product_list(datasets)


def _column(table: Any, name: str, server: str) -> list[Any]:
    if not len(table):
        return []
    if name not in table.colnames:
        msg = f"MAST's list has no column {name}"
        raise ArchiveError(msg, where=server, hint="has the interface changed? see docs/archives.md", code="M002")
    return list(table[name])
