"""The demo's stand-in for MAST, made to fail: one fault a file, or one a page of its interface.

Example::

    with serve_failing(folder) as server:
        server.fail("j9l960a7q_raw.fits", "stalled", times=1)
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acsrecipe.demo.standins.mast import MastHandler, MastServer, serve_mast

PAGE = b"<!DOCTYPE html><html><body>Scheduled maintenance</body></html>"
STATUS = {"500": 500, "502": 502, "404": 404, "401": 401, "403": 403, "418": 418}


@dataclass
class Fault:
    kind: str
    times: int = 10**9
    seconds: float = 0.0


@dataclass
class FailingServer(MastServer):
    """Also knows what is to go wrong, by file name or path of the interface (``search``, ``post_list_products``)."""

    faults: dict[str, Fault] = field(default_factory=dict)
    more_products: list[dict[str, Any]] = field(default_factory=list)
    elsewhere: str = ""
    cookies: list[tuple[str, str]] = field(default_factory=list)

    def fail(self, name: str, kind: str, times: int = 10**9, seconds: float = 0.0) -> None:
        self.faults[name] = Fault(kind, times, seconds)

    def mend(self) -> None:
        self.faults.clear()

    def forget(self) -> None:
        self.requests.clear()
        self.bytes_sent = 0
        self.most_at_work = 0

    def take(self, name: str) -> Fault | None:
        with self.lock:
            fault = self.faults.get(name)
            if fault is None or fault.times <= 0:
                return None
            fault.times -= 1
            return fault

    def change(self, name: str, old: bytes, new: bytes) -> None:
        """Deliver another version of a file, of the same length."""
        assert len(old) == len(new)
        content = self.files[name].read_bytes()
        assert old in content
        path = self.files[name].with_name(f"later_{name}")
        path.write_bytes(content.replace(old, new, 1))
        self.files[name] = path
        self.etags.pop(name, None)


class FailingHandler(MastHandler):
    standin: FailingServer

    def do_GET(self) -> None:
        self.standin.cookies.append((self.path, self.headers.get("Cookie", "")))
        if "column_list" in self.path and self._failed_page("column_list"):
            return
        super().do_GET()

    def do_POST(self) -> None:
        if self._failed_page(self.path.rpartition("/")[2]):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            return
        super().do_POST()

    def list_products(self, datasets: list[str]) -> list[dict[str, Any]]:
        return [*super().list_products(datasets), *self.standin.more_products]

    def send_product(self, name: str) -> None:
        fault = self.standin.take(name)
        if fault is None:
            super().send_product(name)
            return
        content = self.standin.files[name].read_bytes()
        half = content[: len(content) // 2]
        kind = fault.kind
        etag = {"ETag": self.standin.etag(name)}
        if kind in STATUS:
            self.send_text(STATUS[kind], "no luck")
        elif kind in ("503", "429"):
            self.send_text(int(kind), "later", {"Retry-After": f"{fault.seconds:.0f}"})
        elif kind == "redirect-loop":
            self.send_text(302, "", {"Location": self.path})
        elif kind == "redirect-elsewhere":
            self.send_text(302, "", {"Location": self.standin.elsewhere + self.path})
        elif kind == "redirect-file":
            self.send_text(302, "", {"Location": "file:///etc/passwd"})
        elif kind == "reset":
            self.close_connection = True
            self.wfile.flush()
            self.connection.close()
        elif kind == "changing":
            # Half of one version; from now on there is another.
            self._break_off(content, half, etag)
            self._renew(name)
        elif kind in ("short", "stalled", "slow", "short-no-etag"):
            self._break_off(content, half, {} if kind == "short-no-etag" else etag, fault)
        else:
            self._send_wrong(kind, content, half, etag, name)

    def _send_wrong(self, kind: str, content: bytes, half: bytes, etag: dict[str, str], name: str) -> None:
        bodies: dict[str, tuple[bytes, dict[str, str]]] = {
            "html": (PAGE, {"Content-Type": "text/html"}),
            "json": (b'{"error": "try later"}', {"Content-Type": "application/json"}),
            "empty": (b"", etag),
            "short-consistent": (half, etag),
            "long-consistent": (content + b"\0" * 2880, etag),
            "not-fits": (b"\x89HDF" + content[4:], etag),
            "zeros": (b"\0" * len(content), etag),
            "damaged-header": (content[:400] + b"\xff\x00\x01" + content[403:], etag),
            "cut-to-size": (half + b"\0" * (len(content) - len(half)), etag),
            "gzip": (gzip.compress(content), {"Content-Encoding": "gzip", **etag}),
            "no-range": (content, etag),
        }
        if kind in bodies:
            body, headers = bodies[kind]
            self.send_head(200, len(body), headers)
            self.write(body)
        elif kind == "no-length":
            self.send_head(200, -1, etag)
            self.write(content)
        elif kind == "no-length-short":
            self.send_head(200, -1, etag)
            self.write(half)
        elif kind == "long-body":
            # More than announced: the rest looks like the next answer.
            self.send_head(200, len(content), {**etag, "Connection": "close"})
            self.write(content + b"more" * 1000)
            self.close_connection = True
        elif kind == "lying-part":
            # Whatever is asked for, other bytes come, said to be those of a part.
            size = len(content)
            self.send_head(206, 100, {**etag, "Content-Range": f"bytes 1000-1099/{size}"})
            self.write(content[1000:1100])
        elif kind == "part-of-another":
            # A part of another version, without a word that it is one.
            first = int(self.headers.get("Range", "bytes=0-")[6:].split("-")[0])
            body = content[first:]
            said = f"bytes {first}-{len(content) - 1}/{len(content)}"
            self.send_head(206, len(body), {"ETag": '"another"', "Content-Range": said})
            self.write(body)
        else:
            raise AssertionError(kind)

    def _break_off(self, content: bytes, half: bytes, headers: dict[str, str], fault: Fault | None = None) -> None:
        self.close_connection = True
        self.send_head(200, len(content), {**headers, "Connection": "close"})
        if fault is not None and fault.kind == "slow":
            for at in range(len(half)):
                if self.standin.stopping.wait(0.05) or not self.write(half[at : at + 1]):
                    return
        self.write(half)
        if fault is not None and fault.kind == "stalled":
            self.standin.stopping.wait(60)

    def _renew(self, name: str) -> None:
        content = self.standin.files[name].read_bytes()
        at = content.index(b"DATE    =")
        card = content[at : at + 80]
        self.standin.change(name, card, card.replace(b"20", b"21", 1))

    def _failed_page(self, page: str) -> bool:
        fault = self.standin.take(page)
        if fault is None:
            return False
        kind = fault.kind
        if kind in STATUS:
            self.send_text(STATUS[kind], "no luck")
        elif kind == "503":
            self.send_text(503, "later", {"Retry-After": f"{fault.seconds:.0f}"})
        elif kind == "html":
            self.send_head(200, len(PAGE), {"Content-Type": "text/html"})
            self.write(PAGE)
        elif kind == "nonsense":
            self.send_json({"products": [{"filename": 7, "colour": "blue"}], "info": [], "results": 3})
        elif kind == "reset":
            self.close_connection = True
            self.connection.close()
        elif kind in ("slow", "stalled"):
            self.close_connection = True
            self.send_head(200, 10**6, {"Content-Type": "application/json"})
            until = time.monotonic() + 30
            while kind == "slow" and time.monotonic() < until and not self.standin.stopping.wait(0.05):
                if not self.write(b" "):
                    return True
            self.standin.stopping.wait(30)
        else:
            raise AssertionError(kind)
        return True

    def send_json(self, data: Any) -> None:
        json.dumps(data)  # a list that can't be sent is the test's mistake
        super().send_json(data)


@contextmanager
def serve_failing(folder: Path, **options: Any) -> Iterator[FailingServer]:
    with serve_mast(FailingServer(folder, **options), FailingHandler) as server:
        assert isinstance(server, FailingServer)
        yield server
