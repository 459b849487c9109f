"""The suite's own guard: no test reaches beyond this machine, in whatever way it tries."""

from __future__ import annotations

import socket
import urllib.request

import pytest
import requests

from acsrecipe.inputs.wire import Client, MastSettings

OUTSIDE = "192.0.2.1"
"""An address that is set aside for documentation (RFC 5737): nobody has it."""


def test_a_bare_socket_is_refused() -> None:
    with pytest.raises(AssertionError, match="only loopback is allowed"):
        socket.create_connection((OUTSIDE, 80), timeout=1)


def test_so_is_every_library_in_use() -> None:
    with pytest.raises(AssertionError, match="only loopback is allowed"):
        requests.get(f"http://{OUTSIDE}/", timeout=1)
    with pytest.raises(AssertionError, match="only loopback is allowed"):
        urllib.request.urlopen(f"http://{OUTSIDE}/", timeout=1)
    client = Client(MastSettings(server=f"http://{OUTSIDE}"))
    with pytest.raises(AssertionError, match="only loopback is allowed"):
        client.read_all(f"http://{OUTSIDE}/x", 100, exclusive=False, until=1e12)


def test_loopback_is_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=1).close()
