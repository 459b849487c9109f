"""A CRDS server on the wire: its JSON-RPC and its files, asked patiently but not without end."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import random
import re
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from acsrecipe.files import fsync_dir
from acsrecipe.inputs.crds_cache import Catalogued, CrdsSettings, Patience, decode_catalogue

_CHUNK = 2**18
_MOST_ANSWER = 256 * 2**20
_PASSING = {408, 425, 429, 500, 502, 503, 504}
_BEAT = 1.0

Emit = Callable[..., None]
"""Tells of an event: its name, and what belongs to it by keyword."""


class PassingError(Exception):
    """What time may heal; ``after`` is how long the server asks to wait."""

    def __init__(self, what: str, after: float = 0.0) -> None:
        super().__init__(what)
        self.after = after


class LastingError(Exception):
    """What no second attempt will change."""


class Server:
    """A connection to a CRDS server, kept open over the requests of one job."""

    def __init__(self, settings: CrdsSettings, emit: Emit) -> None:
        import requests

        self.settings, self.emit = settings, emit
        self.url = (settings.server or "").rstrip("/")
        self._session = requests.Session()
        # What is hashed are the bytes of the file: no compression on the way.
        self._session.headers.update({"Accept-Encoding": "identity", "User-Agent": "acsrecipe"})

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def ask_info(self) -> dict[str, Any]:
        """Ask for what the server says of itself: contexts, addresses, bad files, catalogue."""
        info = self._ask("get_server_info", [])
        if not isinstance(info, dict) or not isinstance(info.get("mappings", []), list):
            msg = "its answer to get_server_info is not what a CRDS server says"
            raise LastingError(msg)
        if info.get("observatory") != self.settings.observatory:
            what = f"it serves {info.get('observatory')!r}, expected {self.settings.observatory!r}"
            raise LastingError(what)
        if "download_metadata" not in info:
            catalogue = self._ask("get_file_info_map", [self.settings.observatory, None, ["sha1sum", "size"]])
            info["download_metadata"] = catalogue
        try:
            decode_catalogue(info["download_metadata"])
        except ValueError as error:
            what = f"its catalogue can't be read: {error}"
            raise LastingError(what) from error
        for kind in ("mapping", "reference", "config", "pickle"):
            address = info.get(f"{kind}_url")
            if isinstance(address, dict) and "unchecked" in address:
                info[f"{kind}_url"] = address["unchecked"]
        return info

    def _ask(self, method: str, params: list[object]) -> Any:
        """Make one JSON-RPC call, as CRDS's own client makes it."""
        number = f"acsrecipe-{uuid.uuid4()}-00000001"
        body = json.dumps({"jsonrpc": "1.0", "method": method, "params": params, "id": number})
        address = f"{self.url}/json/{method}/{number}/"

        def call() -> Any:
            received = bytearray()
            self._receive("POST", address, received.extend, _MOST_ANSWER, body=body)
            try:
                answer = json.loads(received)
            except (ValueError, RecursionError) as error:
                raise LastingError(_not_what(bytes(received[:100]), "JSON")) from error
            if not isinstance(answer, dict) or "result" not in answer:
                msg = "its answer has no result"
                raise LastingError(msg)
            if answer.get("error"):
                complaint = answer["error"]
                text = complaint.get("message", complaint) if isinstance(complaint, dict) else complaint
                what = f"it says {str(text)[:200]!r}"
                raise LastingError(what)
            return answer["result"]

        return self._patiently(method, call)

    def fetch(self, address: str, name: str, path: Path, known: Catalogued) -> None:
        """Bring one file to its name, whole or not at all."""
        self._patiently(name, lambda: self._fetch_once(address, name, path, known))
        self.emit("fetched", name=name, size=known.size)

    def _fetch_once(self, address: str, name: str, path: Path, known: Catalogued) -> None:
        # Always the same name: the lock makes us the only writer, and the next one takes over what a kill left.
        part = path.with_name(f".{name}.acsrecipe-part")
        digest = hashlib.sha1(usedforsecurity=False)
        start = bytearray()
        told = time.monotonic()
        done = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                part.unlink()
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(part, flags, 0o666), "wb") as file:

                def keep(chunk: bytes) -> None:
                    nonlocal done, told
                    file.write(chunk)
                    digest.update(chunk)
                    done += len(chunk)
                    if len(start) < 100:
                        start.extend(chunk[: 100 - len(start)])
                    if time.monotonic() - told > 0.2:
                        told = time.monotonic()
                        self.emit("bytes", name=name, done=done, size=known.size)

                self._receive("GET", address, keep, known.size)
                file.flush()
                os.fsync(file.fileno())
            self._judge(bytes(start), done, digest.hexdigest(), name, known)
            part.replace(path)
            fsync_dir(path.parent)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS):
                what = f"the cache can't take it: {error.strerror}"
                raise LastingError(what) from error
            raise PassingError(str(error)) from error
        finally:
            with contextlib.suppress(OSError):
                part.unlink()

    def _judge(self, start: bytes, size: int, sha1: str, name: str, known: Catalogued) -> None:
        magic = b"SIMPLE  =" if name.endswith(".fits") else b""
        if start.lstrip()[:1] == b"<" or not start.startswith(magic):
            raise PassingError(_not_what(start, "FITS" if magic else "a mapping"))
        if size != known.size:
            what = f"{size} bytes came, the catalogue says {known.size}"
            raise PassingError(what)
        if known.sha1 and sha1 != known.sha1:
            what = f"what came has sha1 {sha1}, the catalogue says {known.sha1}"
            raise PassingError(what)

    def _receive(
        self, verb: str, address: str, keep: Callable[[bytes], object], most: int, body: str | None = None
    ) -> None:
        """Give a response's bytes as they come; give up where they come too slowly or are too many."""
        import requests
        import urllib3

        if urlsplit(address).scheme not in ("http", "https"):
            what = f"{address[:200]} is neither http nor https"
            raise LastingError(what)
        patience = self.settings.patience
        try:
            with self._session.request(
                verb, address, data=body, stream=True, timeout=(patience.connect, patience.silence)
            ) as response:
                _refuse_status(response.status_code, response.reason, response.headers.get("Retry-After"), patience)
                received, marked, since = 0, 0, time.monotonic()
                # read1 gives what has come; read would wait for a full chunk however slowly it comes.
                while chunk := response.raw.read1(_CHUNK, decode_content=False):
                    received += len(chunk)
                    if received > most:
                        what = f"more than the {most} bytes expected came"
                        raise PassingError(what)
                    keep(chunk)
                    spent = time.monotonic() - since
                    if spent >= patience.silence:
                        if received - marked < patience.least_rate * spent:
                            what = f"only {received - marked} bytes came in {spent:.0f} s"
                            raise PassingError(what)
                        marked, since = received, time.monotonic()
        except (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema) as error:
            what = f"{address[:200]} is not an address"
            raise LastingError(what) from error
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise PassingError(_plain(error)) from error

    def _patiently(self, what: str, attempt: Callable[[], Any]) -> Any:
        """Try again, later and later, what time may heal."""
        patience = self.settings.patience
        for number in range(1, patience.attempts + 1):
            try:
                return attempt()
            except PassingError as error:
                if number == patience.attempts:
                    times = f" ({number} attempts)" if number > 1 else ""
                    msg = f"{error}{times}"
                    raise LastingError(msg) from error
                wait = max(error.after, patience.backoff * 2 ** (number - 1) * (1 + 0.1 * random.random()))  # noqa: S311
                self.emit("retry", name=what, why=str(error), wait=round(wait, 1), attempt=number)
                _pause(wait, self.emit)
        raise AssertionError  # the loop returns or raises


def _refuse_status(status: int, reason: str, retry_after: str | None, patience: Patience) -> None:
    if status == 200:
        return
    what = f"the server answers {status} {reason}".rstrip()
    if status not in _PASSING:
        raise LastingError(what)
    wait = float(retry_after) if retry_after and re.fullmatch(r"\d{1,6}", retry_after) else 0.0
    if wait > patience.longest_wait:
        what += f", and asks to wait {wait:.0f} s"
        raise LastingError(what)
    raise PassingError(what, wait)


def _pause(seconds: float, emit: Emit) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        emit("waiting")
        time.sleep(min(left, _BEAT))


def _plain(error: Exception) -> str:
    """Say in a few words what a network library says in many."""
    text = f"{type(error).__name__}: {error}"
    for found, said in (
        ("Name or service not known", "its name is not known to DNS"),
        ("name resolution", "its name is not known to DNS"),
        ("refused", "the connection was refused"),
        ("timed out", "it did not answer in time"),
        ("IncompleteRead", "the connection broke off"),
        ("reset by peer", "the connection broke off"),
        ("RemoteDisconnected", "the connection broke off"),
        ("CERTIFICATE", "its certificate is not trusted"),
    ):
        if found in text:
            return said
    return " ".join(text.split())[:200]


def _not_what(start: bytes, expected: str) -> str:
    if start.lstrip()[:1] == b"<":
        return f"the server sent a web page instead of {expected}"
    return f"what the server sent is not {expected}: it begins with {start[:20]!r}"
