"""A loopback CRDS server that speaks CRDS's wire format from a small archive, and can be told to fail.

Only the standard library is used. Example::

    with serve(make_archive()) as server:
        server.fail("bbb0002ij_drk.fits", "503", times=2)
        ...  # clients talk to server.url
        assert server.fetched("bbb0002ij_drk.fits") == 3
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from standins.crds_archive import Archive, encode

FAULTS = (
    "500",
    "503",  # with Retry-After
    "404",
    "slow",  # a few bytes a second, to the end of time
    "stalled",  # half, then silence
    "short",  # half, then the connection is closed
    "short-unannounced",  # half, and no Content-Length that would tell
    "long",  # all, and more, with the Content-Length to it
    "wrong-hash",  # one bit of another file
    "html",  # an error page with status 200
    "empty",
    "reset",  # closed without a word
    "gzip",  # compressed, which nobody asked for
    "redirect-loop",
)
PAGE = b"<!DOCTYPE html><html><body>Service temporarily unavailable</body></html>"


@dataclass
class Fault:
    kind: str
    times: int = 10**9
    seconds: float = 0.2


@dataclass
class CrdsServer:
    """What a test sees of the server: where it is, what it was asked, how it shall fail."""

    archive: Archive
    url: str = ""
    latency: float = 0.0
    requests: list[tuple[str, str]] = field(default_factory=list)
    bytes_sent: int = 0
    faults: dict[str, Fault] = field(default_factory=dict)
    stopping: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    info_changes: dict[str, object] = field(default_factory=dict)

    def fail(self, name: str, kind: str, times: int = 10**9, seconds: float = 0.2) -> None:
        """Have requests for a file, or calls of a method, fail that many times."""
        assert kind in FAULTS, kind
        self.faults[name] = Fault(kind, times, seconds)

    def mend(self) -> None:
        self.faults.clear()

    def fetched(self, name: str) -> int:
        """How often a file, or method, was asked for."""
        return sum(asked == name for _, asked in self.requests)

    def _fault(self, name: str) -> Fault | None:
        with self.lock:
            fault = self.faults.get(name)
            if fault is None or fault.times <= 0:
                return None
            fault.times -= 1
            return fault


def call(server: CrdsServer, method: str, params: list[object]) -> object:
    """Answer a method as CRDS does."""
    archive = server.archive
    if method == "get_server_info":
        return archive.info(server.url) | server.info_changes
    if method == "get_mapping_names":
        return archive.closure(str(params[0]))
    if method == "get_default_context":
        return archive.latest
    if method == "get_file_info_map":
        return encode(archive.catalogue())
    message = f"no such method: {method}"
    raise LookupError(message)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are written apart: 40 ms a request otherwise
    standin: CrdsServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = json.loads(body)
        method = asked["method"]
        assert self.path.startswith(f"/json/{method}/"), self.path
        self._note("POST", method)
        try:
            answer = {"result": call(self.standin, method, asked["params"]), "error": None, "id": asked["id"]}
        except LookupError as error:
            answer = {"result": None, "error": {"message": str(error)}, "id": asked["id"]}
        self._answer(method, json.dumps(answer).encode(), "application/json")

    def do_GET(self) -> None:
        name = unquote(self.path).rsplit("/", 1)[-1]
        self._note("GET", name)
        files = self.standin.archive.mappings | self.standin.archive.references
        if name not in files:
            self._send(404, b"not found\n", "text/plain")
            return
        self._answer(name, files[name], "application/octet-stream")

    def _note(self, verb: str, name: str) -> None:
        with self.standin.lock:
            self.standin.requests.append((verb, name))
        time.sleep(self.standin.latency)

    def _answer(self, name: str, content: bytes, kind: str) -> None:
        fault = self.standin._fault(name)
        if fault is None:
            self._send(200, content, kind)
            return
        half = content[: len(content) // 2]
        if fault.kind in ("500", "404"):
            self._send(int(fault.kind), b"no luck\n", "text/plain")
        elif fault.kind == "503":
            self._send(503, b"later\n", "text/plain", {"Retry-After": str(int(fault.seconds))})
        elif fault.kind == "redirect-loop":
            self._send(302, b"", "text/plain", {"Location": self.path})
        elif fault.kind == "html":
            self._send(200, PAGE, "text/html")
        elif fault.kind == "empty":
            self._send(200, b"", kind)
        elif fault.kind == "long":
            self._send(200, content + b"more", kind)
        elif fault.kind == "wrong-hash":
            self._send(200, content[:-1] + bytes([content[-1] ^ 1]), kind)
        elif fault.kind == "gzip":
            import gzip

            self._send(200, gzip.compress(content), kind, {"Content-Encoding": "gzip"})
        elif fault.kind == "reset":
            self.close_connection = True
        else:
            self._drip(fault, content, half, kind)

    def _drip(self, fault: Fault, content: bytes, half: bytes, kind: str) -> None:
        self.close_connection = True
        announced = {} if fault.kind == "short-unannounced" else {"Content-Length": str(len(content))}
        self._head(200, kind, announced | {"Connection": "close"})
        if fault.kind == "slow":
            for place in range(0, len(content), 2):
                if self.standin.stopping.wait(fault.seconds):
                    return
                self._write(content[place : place + 2])
            return
        self._write(half)
        if fault.kind == "stalled":
            self.standin.stopping.wait(600)

    def _send(self, status: int, content: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self._head(status, kind, {"Content-Length": str(len(content))} | (headers or {}))
        self._write(content)

    def _head(self, status: int, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _write(self, content: bytes) -> None:
        try:
            self.wfile.write(content)
            self.wfile.flush()
        except OSError:  # the client has gone
            self.close_connection = True
            return
        with self.standin.lock:
            self.standin.bytes_sent += len(content)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """A client that goes away is no error of ours."""


@contextmanager
def serve(archive: Archive, latency: float = 0.0) -> Iterator[CrdsServer]:
    """Serve an archive on a free port of this machine until the block ends."""
    standin = CrdsServer(archive, latency=latency)
    listener = _Listener(("127.0.0.1", 0), type("Handler", (_Handler,), {"standin": standin}))
    # "localhost", because crds warns of every other address that is not https.
    standin.url = f"http://localhost:{listener.server_address[1]}"
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield standin
    finally:
        standin.stopping.set()
        listener.shutdown()
        listener.server_close()
        thread.join(5)
