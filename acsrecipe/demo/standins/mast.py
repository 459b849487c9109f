"""A stand-in for MAST: its missions interface (search, list, retrieve) over a folder of files."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from acsrecipe.inputs.association import read_association
from acsrecipe.inputs.header import read_headers

COLUMNS = ("sci_data_set_name", "sci_instrume", "sci_pep_id", "sci_targname", "sci_asn_id", "search_key")
_CHUNK = 1 << 18
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass
class MastServer:
    """What one sees of the server: where it is, what it was asked, what it sent.

    Attributes
    ----------
    folder : Path
        Files as the archive delivers them; looked at once, when the server starts.
    latency : float
        Seconds before each answer.
    rate : float
        Bytes a second of one download; 0 is as fast as can be.
    exclusive : set of str
        Datasets that are not public.
    token : str
        What gives access to them.
    """

    folder: Path
    latency: float = 0.0
    rate: float = 0.0
    exclusive: set[str] = field(default_factory=set)
    token: str = ""
    url: str = ""
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    bytes_sent: int = 0
    at_work: int = 0
    most_at_work: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    stopping: threading.Event = field(default_factory=threading.Event, repr=False)
    files: dict[str, Path] = field(default_factory=dict, repr=False)
    datasets: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    proposals: dict[str, int] = field(default_factory=dict, repr=False)
    etags: dict[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Look at the folder: an association is a dataset with its members' files, as at MAST; others stand alone."""
        self.files = {path.name: path for path in sorted(self.folder.glob("*.fits"))}
        inside: set[str] = set()
        for name in [name for name in self.files if name.endswith("_asn.fits")]:
            table = read_association(self.files[name])
            roots = {table.rootname, *(row.memname.lower() for row in table.members)}
            inside |= roots
            self.datasets[table.rootname.upper()] = tuple(one for one in self.files if one[:9] in roots)
        for name in self.files:
            if name[:9] not in inside:
                self.datasets.setdefault(name[:9].upper(), ())
                self.datasets[name[:9].upper()] += (name,)
        for dataset, names in self.datasets.items():
            raws = [name for name in names if name.endswith("_raw.fits")]
            if raws:
                found = read_headers(self.files[raws[0]])[0].cards.get("PROPOSID")
                self.proposals[dataset] = found if isinstance(found, int) else 0

    def etag(self, name: str) -> str:
        """Name the version of a file by its size and time of change."""
        if name not in self.etags:
            found = self.files[name].stat()
            text = f"{name} {found.st_size} {found.st_mtime_ns}"
            self.etags[name] = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
        return self.etags[name]

    def asked(self, name: str) -> int:
        """Count how often a file, or a path, was asked for."""
        return sum(name in path for _, path, _ in self.requests)


class MastHandler(BaseHTTPRequestHandler):
    """Answers one request; ``server`` is that of the class made by :func:`serve_mast`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    standin: MastServer

    def do_GET(self) -> None:
        """Answer the list of columns, who is asking, and files."""
        with self._noted("GET"):
            parts = urlsplit(self.path)
            if parts.path == "/search/util/api/v0.1/column_list":
                rows = [{"column_name": name, "qual_type": "string", "description": name} for name in COLUMNS]
                self.send_json(rows)
            elif parts.path == "/whoami":
                known = bool(self.standin.token) and self._token() == self.standin.token
                self.send_json({"anon": not known, "attrib": {"display_name": "A. Stronomer" if known else ""}})
            elif parts.path == "/search/hst/api/v0.1/retrieve_product":
                asked = parse_qs(parts.query).get("product_name", [""])[0]
                self.send_product(unquote(asked).rpartition("/")[2])
            else:
                self.send_text(404, "no such address")

    def do_POST(self) -> None:
        """Answer searches and lists of products."""
        with self._noted("POST"):
            asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
            if self.path == "/search/hst/api/v0.1/search":
                self.send_json(self.search(asked))
            elif self.path == "/search/hst/api/v0.1/post_list_products":
                self.send_json({"products": self.list_products(asked.get("dataset_ids", []))})
            else:
                self.send_text(404, "no such address")

    def search(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Find datasets by the conditions of a search, in pages."""
        wanted = {key: str(value) for one in asked.get("conditions", []) for key, value in one.items()}
        rows = []
        for dataset in sorted(self.standin.datasets):
            row = {
                "sci_data_set_name": dataset,
                "sci_instrume": "ACS",
                "sci_pep_id": str(self.standin.proposals.get(dataset, 0)),
            }
            if all(fnmatch.fnmatchcase(row.get(key, ""), value) for key, value in wanted.items()):
                rows.append([row["sci_instrume"], int(row["sci_pep_id"]), dataset])
        first = int(asked.get("offset", 0))
        page = rows[first : first + int(asked.get("limit", 5000))]
        kinds = (("sci_instrume", "VARCHAR"), ("sci_pep_id", "INTEGER"), ("sci_data_set_name", "VARCHAR"))
        return {"info": [{"name": name, "type": kind} for name, kind in kinds], "results": page}

    def list_products(self, datasets: list[str]) -> list[dict[str, Any]]:
        """List the files of datasets."""
        found = []
        for dataset in datasets:
            for name in self.standin.datasets.get(dataset, ()):
                root = name[:9].upper()
                closed = bool({dataset, root} & self.standin.exclusive)
                found.append(
                    {
                        "product_key": f"{dataset}_{name}",
                        "access": "PROPRIETARY" if closed else "PUBLIC",
                        "dataset": dataset,
                        "instrument_name": "ACS   ",
                        "filters": "F606W",
                        "filename": name,
                        "uri": f"{root}/{name}",
                        "authz_primary_identifier": root,
                        "authz_secondary_identifier": "RAW",
                        "file_suffix": name[10:13].upper(),
                        "category": "UNCALIBRATED",
                        "size": self.standin.files[name].stat().st_size,
                        "type": "science",
                    }
                )
        return found

    def send_product(self, name: str) -> None:
        """Send a file, or the part of it that was asked for."""
        if name not in self.standin.files:
            self.send_text(404, f"no such product: {name}")
            return
        if name[:9].upper() in self.standin.exclusive and self._token() != self.standin.token:
            self.send_text(401, "exclusive access")
            return
        size, etag = self.standin.files[name].stat().st_size, self.standin.etag(name)
        first, last, status = 0, size - 1, 200
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        if asked and self.headers.get("If-Range", etag) == etag:
            first, last, status = int(asked[1]), min(int(asked[2] or size - 1), size - 1), 206
            if first >= size:
                self.send_text(416, "beyond the end", {"Content-Range": f"bytes */{size}"})
                return
        headers = {"Content-Type": "application/fits", "ETag": etag, "Accept-Ranges": "bytes"}
        if status == 206:
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        self.send_head(status, last - first + 1, headers)
        with self.standin.files[name].open("rb") as file:
            file.seek(first)
            self.send_body(file, last - first + 1)

    def send_body(self, file: Any, count: int) -> None:
        """Send bytes of a file, at the server's rate."""
        while count and not self.standin.stopping.is_set():
            step = _CHUNK if not self.standin.rate else max(1024, int(self.standin.rate / 20))
            chunk = file.read(min(step, count))
            if not self.write(chunk):
                return
            count -= len(chunk)
            if self.standin.rate:
                time.sleep(len(chunk) / self.standin.rate)

    def send_json(self, data: Any) -> None:
        """Send an answer of the interface."""
        content = json.dumps(data).encode()
        self.send_head(200, len(content), {"Content-Type": "application/json"})
        self.write(content)

    def send_text(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        """Send a short answer."""
        content = text.encode() + b"\n"
        self.send_head(status, len(content), {"Content-Type": "text/plain", **(headers or {})})
        self.write(content)

    def send_head(self, status: int, length: int, headers: dict[str, str]) -> None:
        """Send status and headers; a negative length is not announced, and ends with the connection."""
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        if length >= 0:
            self.send_header("Content-Length", str(length))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()

    def write(self, content: bytes) -> bool:
        """Send bytes, counted; give False where the other side has gone."""
        try:
            self.wfile.write(content)
        except OSError:
            self.close_connection = True
            return False
        with self.standin.lock:
            self.standin.bytes_sent += len(content)
        return True

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def _token(self) -> str:
        cookies = dict(part.strip().partition("=")[::2] for part in self.headers.get("Cookie", "").split(";"))
        return cookies.get("mast_token", "")

    @contextmanager
    def _noted(self, verb: str) -> Iterator[None]:
        standin = self.standin
        with standin.lock:
            standin.requests.append((verb, unquote(self.path), self.headers.get("Range", "")))
            standin.at_work += 1
            standin.most_at_work = max(standin.most_at_work, standin.at_work)
        try:
            time.sleep(standin.latency)
            yield
        finally:
            with standin.lock:
                standin.at_work -= 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that go away."""


@contextmanager
def serve_mast(standin: MastServer, handler: type[MastHandler] = MastHandler) -> Iterator[MastServer]:
    """Serve on a free port of this machine while the context lasts."""
    bound = type("BoundHandler", (handler,), {"standin": standin})
    with _Server(("127.0.0.1", 0), bound) as server:
        standin.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield standin
        finally:
            standin.stopping.set()
            server.shutdown()
            thread.join(timeout=5)
