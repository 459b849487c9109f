"""A stand-in for a CRDS server: its JSON-RPC and its files, from a CRDS cache on disk."""

from __future__ import annotations

import ast
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

_CHUNK = 1 << 18


@dataclass
class CrdsStandin:
    """Where the server is, and what it was asked: (method or file name) in order."""

    cache: Path
    url: str = ""
    requests: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def info(self) -> dict[str, Any]:
        """Give the answer of ``get_server_info``: what the cache remembers, with its files served here."""
        said: dict[str, Any] = ast.literal_eval((self.cache / "config" / "hst" / "server_config").read_text())
        folders = {f"{kind}_url": {"hst": f"{self.url}/{kind}s"} for kind in ("mapping", "reference")}
        return {**said, **folders, "server": self.url, "status": "operational", "connected": True}

    def find(self, name: str) -> Path | None:
        """Find a file of the cache by its bare name."""
        for folder in ("mappings/hst", "references/hst", "references/hst/acs"):
            path = self.cache / folder / name
            if "/" not in name and path.is_file():
                return path
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    standin: CrdsStandin

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        method = str(asked.get("method"))
        self._note(method)
        answer: dict[str, Any] = {"result": None, "error": None, "id": asked.get("id")}
        if method == "get_server_info":
            answer["result"] = self.standin.info()
        elif method == "get_default_context":
            answer["result"] = self.standin.info()["operational_context"]
        else:
            answer["error"] = {"message": f"no such method: {method}"}
        content = json.dumps(answer).encode()
        self._head(200, len(content), "application/json")
        self.wfile.write(content)

    def do_GET(self) -> None:
        name = unquote(self.path).rpartition("/")[2]
        self._note(name)
        path = self.standin.find(name)
        if path is None:
            self._head(404, 0, "text/plain")
            return
        self._head(200, path.stat().st_size, "application/octet-stream")
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                try:
                    self.wfile.write(chunk)
                except OSError:
                    self.close_connection = True
                    return

    def _head(self, status: int, length: int, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _note(self, what: str) -> None:
        with self.standin.lock:
            self.standin.requests.append(what)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that go away."""


@contextmanager
def serve_crds(cache: Path) -> Iterator[CrdsStandin]:
    """Serve a CRDS cache on a free port of this machine while the context lasts."""
    standin = CrdsStandin(cache)
    with _Server(("127.0.0.1", 0), type("BoundHandler", (_Handler,), {"standin": standin})) as server:
        standin.url = f"http://localhost:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield standin
        finally:
            server.shutdown()
            thread.join(timeout=5)
