"""GET over HTTP, with every deadline set: what an archive's server answers, and whether time may heal it.

Nothing here knows what is in the bytes. A request that fails raises :class:`PassingError` where another
attempt may do, :class:`LastingError` where none will. The token goes to the archive's own server only.
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

from acsrecipe.inputs.crds_cache import Patience
from acsrecipe.inputs.crds_server import LastingError, PassingError

__all__ = ["Client", "LastingError", "MastSettings", "Part", "PassingError", "Patience", "RangeError", "patiently"]

_CHUNK = 1 << 18
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
_T = TypeVar("_T")

_SAID = (
    ("Name or service not known", "its name is not known to DNS"),
    ("name resolution", "its name is not known to DNS"),
    ("NameResolution", "its name is not known to DNS"),
    ("refused", "the connection was refused"),
    ("unreachable", "there is no way to it on this network"),
    ("timed out", "nothing came in time"),
    ("IncompleteRead", "the connection broke off"),
    ("reset by peer", "the connection broke off"),
    ("RemoteDisconnected", "the connection broke off"),
    ("closed connection", "the connection broke off"),
    ("CERTIFICATE", "its certificate is not trusted"),
)
_NOBODY = {said for _, said in _SAID if said not in ("nothing came in time", "the connection broke off")}
"""What trying again in a second will not change."""


class RangeError(LastingError):
    """The server gives whole files only."""


class LateError(LastingError):
    """The deadline is over."""


class AccessError(LastingError):
    """The server wants to know who asks, or does not let them."""


class AbsentError(LastingError):
    """The server does not have it."""


@dataclass(frozen=True)
class MastSettings:
    """How to talk with MAST.

    Attributes
    ----------
    server : str
        Base URL.
    offline : bool
        Never touch the network: what was downloaded before is all there is.
    patience : Patience
        How long to wait for what.
    deadline : float
        Seconds that one file may take, all attempts together; for a listing, a tenth of it.
    connections : int
        Requests at once.
    token : str
        For data that are not public; never shown, not even by ``repr``.
    """

    server: str = "https://mast.stsci.edu"
    offline: bool = False
    patience: Patience = field(default_factory=Patience)
    deadline: float = 7200.0
    connections: int = 4
    token: str = field(default="", repr=False, compare=False)


@dataclass(frozen=True)
class Part:
    """Some bytes of a file, how many there are in all (-1 unknown), and what the server calls this version."""

    content: bytes
    total: int
    etag: str


class Client:
    """Connections to an archive's server; threads may share one."""

    def __init__(self, settings: MastSettings) -> None:
        import requests
        from requests.adapters import HTTPAdapter

        self.settings = settings
        self._origin = origin(settings.server)
        self._closed = threading.Event()
        self._session = requests.Session()
        # Cookies of one answer have no business in the next request.
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        # What is counted and hashed are the bytes of the file: no compression on the way.
        self._session.headers.update({"Accept-Encoding": "identity", "User-Agent": "acsrecipe", "Accept": "*/*"})
        adapter = HTTPAdapter(pool_connections=2, pool_maxsize=2 * settings.connections, pool_block=False)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def close(self) -> None:
        """Drop the connections; what other threads still read ends with the next bytes that come."""
        self._closed.set()
        self._session.close()

    @contextmanager
    def get(self, url: str, headers: dict[str, str], *, exclusive: bool, until: float) -> Iterator[Any]:
        """Open the answer to a GET (200, 206, 304 or 416), its body unread."""
        import requests
        import urllib3

        patience = self.settings.patience
        try:
            for _ in range(_MOST_REDIRECTS + 1):
                _require_address(url)
                left = until - time.monotonic()
                if left <= 0 or self._closed.is_set():
                    msg = "its deadline is over" if left <= 0 else "it was interrupted"
                    raise LastingError(msg)
                response = self._session.get(
                    url,
                    headers={**headers, **self._secret(url, exclusive=exclusive)},
                    stream=True,
                    allow_redirects=False,
                    timeout=(min(patience.connect, left), min(patience.silence, left)),
                )
                with response:
                    if response.status_code in _REDIRECTS and response.headers.get("Location"):
                        url = _follow(url, str(response.headers["Location"]))
                        continue
                    self._judge(response, exclusive=exclusive)
                    yield response
                    return
            msg = f"the server sends from one address to the next, more than {_MOST_REDIRECTS} times"
            raise LastingError(msg)
        except (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema) as error:
            msg = f"{url[:200]!r} is not an address"
            raise LastingError(msg) from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise failure(error) from error

    def body(self, response: Any, most: int, until: float) -> Iterator[bytes]:
        """Give a body's bytes as they come; give up where they come too slowly, too late, or are too many."""
        patience = self.settings.patience
        received, marked, since = 0, 0, time.monotonic()
        # read1 gives what has come; read would wait for a full chunk however slowly it comes.
        while chunk := response.raw.read1(_CHUNK, decode_content=False):
            received += len(chunk)
            if received > most:
                msg = f"more bytes came than the {most} that it should have"
                raise LastingError(msg)
            yield chunk
            if self._closed.is_set():
                msg = "it was interrupted"
                raise PassingError(msg)
            now = time.monotonic()
            if now > until:
                msg = f"its deadline is over, with {received} bytes come"
                raise LateError(msg)
            if now - since >= patience.silence:
                if received - marked < patience.least_rate * (now - since):
                    msg = f"only {received - marked} bytes came in {now - since:.1f} s"
                    raise PassingError(msg)
                marked, since = received, now

    def read_all(self, url: str, most: int, *, exclusive: bool, until: float) -> bytes:
        """Read a small file whole, once."""
        with self.get(url, {}, exclusive=exclusive, until=until) as response:
            content = b"".join(self.body(response, most, until))
            said = response.headers.get("Content-Length", "")
        if said.isdigit() and len(content) != int(said):
            msg = f"the connection broke off after {len(content)} of {said} bytes"
            raise PassingError(msg)
        return content

    def read_part(self, url: str, first: int, last: int, *, exclusive: bool, until: float) -> Part:
        """Read bytes ``first`` to ``last`` (both included, fewer at the end of the file), once.

        Raises
        ------
        RangeError
            The server answers with the whole file, which is not read.
        """
        with self.get(url, {"Range": f"bytes={first}-{last}"}, exclusive=exclusive, until=until) as response:
            if response.status_code == 416:
                msg = f"it has fewer than {first + 1} bytes, not as many as the archive lists"
                raise LastingError(msg)
            if response.status_code != 206 and "html" in str(response.headers.get("Content-Type", "")).lower():
                msg = "the server sent a page instead of the file"
                raise LastingError(msg)
            if response.status_code != 206:
                msg = "the server gives whole files only (it ignores Range)"
                raise RangeError(msg)
            begin, end, total = read_content_range(response.headers.get("Content-Range", ""))
            if begin != first or end > last or end < begin:
                msg = f"asked for bytes {first} to {last}, the server says that it sends {begin} to {end}"
                raise LastingError(msg)
            content = b"".join(self.body(response, end - begin + 1, until))
            if len(content) != end - begin + 1:
                msg = f"the connection broke off after {len(content)} of {end - begin + 1} bytes"
                raise PassingError(msg)
            return Part(content, total, strong_etag(response))

    def _secret(self, url: str, *, exclusive: bool) -> dict[str, str]:
        """Give the header with the token: for what is not public, at the archive's own server, and nowhere else."""
        token = self.settings.token
        if not exclusive or not token or origin(url) != self._origin:
            return {}
        return {"Cookie": f"mast_token={token}"}

    def _judge(self, response: Any, *, exclusive: bool) -> None:
        status = response.status_code
        if status in (200, 206, 304, 416):
            coding = response.headers.get("Content-Encoding", "identity").lower()
            if coding not in ("", "identity"):
                msg = f"the server sends it {coding}-encoded, although asked not to"
                raise LastingError(msg)
            return
        try:
            refuse_status(response, self.settings.patience)
        except AccessError as error:
            sent = exclusive and bool(self.settings.token)
            msg = f"{error}: " + ("the token does not give access to it" if sent else "it is not public")
            raise AccessError(msg) from error


def refuse_status(response: Any, patience: Patience) -> None:
    """Raise where the status of an answer is an error, saying by its kind whether time may heal it."""
    status = response.status_code
    if status < 400:
        return
    what = f"the server answers {status} {response.reason}".rstrip()
    if status in (401, 403):
        raise AccessError(what)
    if status in (404, 410):
        raise AbsentError(what)
    if status not in _PASSING:
        raise LastingError(what)
    wait = _read_wait(str(response.headers.get("Retry-After", "")).strip())
    if wait > patience.longest_wait:
        msg = f"{what}, and asks to wait {wait:.0f} s"
        raise LastingError(msg)
    raise PassingError(what, wait)


def _read_wait(text: str) -> float:
    """Read a Retry-After: seconds, or a date; 0 where it is neither."""
    if re.fullmatch(r"\d{1,6}", text):
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0


def patiently(call: Callable[[], _T], patience: Patience, until: float, heard: Callable[[str], None]) -> _T:
    """Call again, later and later, what time may heal; no attempt begins after ``until``.

    Raises
    ------
    LastingError
        Also where the attempts are used up, saying how many there were.
    """
    from tenacity import RetryCallState, Retrying, retry_if_exception_type

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        after = error.after if isinstance(error, PassingError) else 0.0
        spread = 1 + 0.25 * random.random()  # noqa: S311 - so that many who fail at once do not return at once
        return max(after, patience.backoff * 2.0 ** (state.attempt_number - 1) * spread)

    def stop(state: RetryCallState) -> bool:
        return state.attempt_number >= patience.attempts or time.monotonic() + state.upcoming_sleep > until

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        heard(f"{error}; attempt {state.attempt_number + 1} of {patience.attempts} in {state.upcoming_sleep:.0f} s")

    retrying = Retrying(
        retry=retry_if_exception_type(PassingError),
        stop=stop,
        wait=wait,
        before_sleep=tell,
        reraise=True,
    )
    tries = 0

    def once() -> _T:
        nonlocal tries
        tries += 1
        return call()

    try:
        return retrying(once)
    except PassingError as error:
        msg = f"{error} ({tries} attempts)" if tries > 1 else str(error)
        raise LastingError(msg) from error


def origin(url: str) -> tuple[str, str, int]:
    """Give scheme, host and port of an address."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    return parts.scheme.lower(), (parts.hostname or "").lower(), port or {"https": 443}.get(parts.scheme.lower(), 80)


def read_content_range(text: str) -> tuple[int, int, int]:
    """Read ``bytes 0-99/1234``: first, last, total (-1 for ``*``); raises :class:`LastingError`."""
    found = re.fullmatch(r"\s*bytes (\d{1,15})-(\d{1,15})/(\d{1,15}|\*)\s*", text)
    if found is None:
        msg = f"the server sends a part without saying which (Content-Range: {text[:60]!r})"
        raise LastingError(msg)
    return int(found[1]), int(found[2]), -1 if found[3] == "*" else int(found[3])


def strong_etag(response: Any) -> str:
    """Give what the server calls this version of a file, byte for byte; empty where it says nothing so strong."""
    etag = str(response.headers.get("ETag", "")).strip()
    return etag if re.fullmatch(r'"[\x21\x23-\x7e]{1,200}"', etag) else ""


def failure(error: Exception) -> Exception:
    """Sort what a network library raises: no server at the address is said at once, the rest may heal."""
    said = explain(error)
    return LastingError(said) if said in _NOBODY else PassingError(said)


def explain(error: Exception) -> str:
    """Say in a few words what a network library says in many."""
    text = f"{type(error).__name__}: {error}"
    for found, said in _SAID:
        if found in text:
            return said
    return " ".join(text.split())[:200]


def _require_address(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        msg = f"{url[:200]!r} is not an http(s) address"
        raise LastingError(msg)


def _follow(url: str, location: str) -> str:
    target = urljoin(url, location)
    _require_address(target)
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
        msg = f"the server sends from https to http ({target[:100]!r})"
        raise LastingError(msg)
    return target
