"""What all tests share: no network but loopback, no user's home, and the folder of real and golden data."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

SHARED = Path(__file__).resolve().parents[2] / "shared"

settings.register_profile(
    "default", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
settings.load_profile("default")


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder `shared` beside the repository (golden sets, real data), or a skip that says it is not there."""
    if not SHARED.is_dir():
        pytest.skip("the folder shared/ with golden and real data is not beside the repository")
    return SHARED


@pytest.fixture(scope="session")
def calacs_exe() -> Path:
    """The external calacs.e, or a skip that says it is not installed."""
    import shutil

    found = shutil.which("calacs.e")
    if found is None:
        pytest.skip("calacs.e (conda-forge package hstcal) is not installed on this machine")
    return Path(found)


@pytest.fixture(autouse=True)
def _only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection that leaves this machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else None
        if self.family in (socket.AF_INET, socket.AF_INET6) and host not in ("127.0.0.1", "::1", "localhost"):
            msg = f"a test tried to reach {host}: only loopback is allowed"
            raise AssertionError(msg)
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def _no_home(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Give every test a home of its own and an environment without the user's CRDS settings."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        (home / name.lower()).mkdir()
        monkeypatch.setenv(name, str(home / name.lower()))
    for name in [n for n in os.environ if n.startswith(("CRDS_", "MAST_")) or n in ("jref", "imclobber")]:
        monkeypatch.delenv(name)
