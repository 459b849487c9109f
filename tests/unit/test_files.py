"""Files: durable or absent, never through a link, never outside."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acsrecipe import files
from acsrecipe.errors import IntegrityError, OutputError

POINTS_WRITE = ["write_atomic.written", "write_atomic.synced", "write_atomic.replaced", "write_atomic.durable"]
POINTS_PUBLISH = ["publish_new.synced", "publish_new.linked", "publish_new.durable", "publish_new.unlinked"]


def _listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "plan.json"
    files.write_atomic(target, b"old")
    files.write_atomic(target, b"new" * 1000)
    assert target.read_bytes() == b"new" * 1000
    assert _listing(tmp_path) == ["plan.json"]


def test_published_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        files.write_atomic(tmp_path / "a", b"x")
        files.copy_file(tmp_path / "a", tmp_path / "b")
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"] == [0o640, 0o640]


@pytest.mark.parametrize("point", POINTS_WRITE)
def test_a_failure_while_writing_leaves_the_old_file_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    target = tmp_path / "plan.json"
    target.write_bytes(b"old")

    def fail(name: str) -> None:
        if name == point:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "_point", fail)
    with pytest.raises(OutputError, match="No space left"):
        files.write_atomic(target, b"new")
    assert target.read_bytes() == (b"old" if point in POINTS_WRITE[:2] else b"new")
    assert _listing(tmp_path) == ["plan.json"]


@pytest.mark.parametrize("point", [*POINTS_WRITE, *POINTS_PUBLISH])
def test_a_kill_at_any_durable_point_leaves_a_whole_file_and_can_be_repeated(tmp_path: Path, point: str) -> None:
    (tmp_path / "made").write_bytes(b"product" * 999)
    (tmp_path / "plan.json").write_bytes(b"old")
    work = (
        "from acsrecipe import files; import os, sys; from pathlib import Path\n"
        "root, point = Path(sys.argv[1]), sys.argv[2]\n"
        "files._point = lambda name: os.kill(os.getpid(), 9) if name == point else None\n"
        "files.write_atomic(root / 'plan.json', b'new' * 999)\n"
        "files.publish_new(root / 'made', root / 'product')\n"
    )
    killed = subprocess.run([sys.executable, "-c", work, str(tmp_path), point], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "plan.json").read_bytes() in (b"old", b"new" * 999)
    if (tmp_path / "product").exists():
        assert (tmp_path / "product").read_bytes() == b"product" * 999
    if (tmp_path / "made").exists():
        files.publish_new(tmp_path / "made", tmp_path / "product")
    assert (tmp_path / "product").read_bytes() == b"product" * 999
    assert not (tmp_path / "made").exists()


def test_publishing_moves_a_file_to_a_name_that_is_free(tmp_path: Path) -> None:
    (tmp_path / "made").write_bytes(b"product")
    files.publish_new(tmp_path / "made", tmp_path / "product")
    assert _listing(tmp_path) == ["product"]
    assert (tmp_path / "product").read_bytes() == b"product"


@pytest.mark.parametrize("code", [None, errno.EPERM, errno.EXDEV])
def test_publishing_never_overwrites_whatever_the_disk_can_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int | None
) -> None:
    (tmp_path / "made").write_bytes(b"product")
    (tmp_path / "product").write_bytes(b"other")
    _refuse_links(monkeypatch, code)
    with pytest.raises(OutputError, match="exists already"):
        files.publish_new(tmp_path / "made", tmp_path / "product")
    assert (tmp_path / "product").read_bytes() == b"other"
    assert _listing(tmp_path) == ["made", "product"]


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.EXDEV])
def test_publishing_works_without_hard_links_and_across_disks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    (tmp_path / "made").write_bytes(b"product")
    _refuse_links(monkeypatch, code)
    files.publish_new(tmp_path / "made", tmp_path / "product")
    assert (tmp_path / "product").read_bytes() == b"product"
    assert _listing(tmp_path) == ["product"]


def _refuse_links(monkeypatch: pytest.MonkeyPatch, code: int | None) -> None:
    link = os.link

    def refuse(source: Path, target: Path, **more: bool) -> None:
        # Another disk: only the first try crosses it, the copy beside the target does not.
        if code is not None and (code != errno.EXDEV or Path(source).name == "made"):
            raise OSError(code, os.strerror(code))
        link(source, target, **more)

    monkeypatch.setattr(os, "link", refuse)


def test_neither_a_link_nor_a_folder_is_published_or_written_over(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"x")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="not a plain file"):
        files.publish_new(tmp_path / "link", tmp_path / "product")
    for name in ("link", "folder"):
        with pytest.raises(OutputError, match="expected a plain file"):
            files.write_atomic(tmp_path / name, b"new")
    assert (tmp_path / "real").read_bytes() == b"x"


@pytest.mark.parametrize("size", [0, 1, files.CHUNK - 1, files.CHUNK, files.CHUNK + 1, 3 * files.CHUNK])
def test_a_copy_has_the_same_bytes_in_a_file_of_its_own(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "raw").write_bytes(data)
    digest = files.copy_file(tmp_path / "raw", tmp_path / "staged")
    assert digest == hashlib.sha256(data).hexdigest() == files.sha256_file(tmp_path / "staged")
    assert (tmp_path / "raw").stat().st_ino != (tmp_path / "staged").stat().st_ino


def test_a_copy_never_follows_a_link_at_its_target(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(b"raw")
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "link").symlink_to("precious")
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("link", "dangling", "precious"):
        with pytest.raises(OutputError, match="exists already"):
            files.copy_file(tmp_path / "raw", tmp_path / name)
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert not (tmp_path / "nowhere").exists()


def test_a_source_that_changes_while_it_is_copied_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = tmp_path / "raw"
    raw.write_bytes(b"1" * 100)
    monkeypatch.setattr(files, "_point", lambda name: raw.write_bytes(b"2" * 50))
    with pytest.raises(IntegrityError, match="changed while it was read"):
        files.copy_file(raw, tmp_path / "staged")
    assert _listing(tmp_path) == ["raw"]


def test_what_is_no_plain_file_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("pipe", "loop", "absent", "."):
        with pytest.raises(IntegrityError):
            files.copy_file(tmp_path / name, tmp_path / "staged")
    assert not (tmp_path / "staged").exists()


NAMES = st.lists(
    st.sampled_from(["a", "b", "in", "out", "back", "..", ".", "", "x.fits", "\0", "~", "c\n"]), min_size=1, max_size=6
).map("/".join) | st.text(max_size=20)


@given(name=NAMES)
@settings(max_examples=300)
def test_a_contained_path_never_escapes(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    root = _house(tmp_path_factory)
    try:
        path = files.contained_path(root, name)
    except IntegrityError:
        return
    inside = os.path.realpath(root)
    assert os.path.realpath(path) == str(path)
    assert str(path) == inside or str(path).startswith(inside + os.sep)


_HOUSES: list[Path] = []


def _house(factory: pytest.TempPathFactory) -> Path:
    """Make, once, a root with a link that stays inside, one that leaves, and one back in through outside."""
    if not _HOUSES:
        base = factory.mktemp("contained")
        (base / "root" / "a" / "b").mkdir(parents=True)
        (base / "root" / "in").symlink_to("a/b")
        (base / "root" / "out").symlink_to("..")
        (base / "root" / "a" / "back").symlink_to(base / "root")
        _HOUSES.append(base / "root")
    return _HOUSES[0]


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/passwd", "out/x", "out", "", "~/x", "a\0b", "in/../../out/x"]
)
def test_names_that_lead_outside_are_refused(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    with pytest.raises(IntegrityError):
        files.contained_path(_house(tmp_path_factory), name)


@pytest.mark.parametrize("name", ["a", "a/b/x.fits", "in/x", "a/../in", ".", "a/back/a", "with blank.toml"])
def test_names_that_stay_inside_are_resolved(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    root = _house(tmp_path_factory)
    assert files.contained_path(root, name) == Path(os.path.realpath(root / name))


@pytest.mark.parametrize("name", ["j9l960a7q_flt.fits", "plan.json", "_x", "a+b-c.d"])
def test_plain_names_are_safe(name: str) -> None:
    assert files.safe_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "a\\b",
        "-v",
        ".hidden",
        "a b",
        "a\n",
        "nul",
        "CON.fits",
        "com1",
        "x" * 128,
        "ａ",
        "a\0",
    ],
)
def test_names_that_could_do_harm_are_not_safe(name: str) -> None:
    with pytest.raises(IntegrityError, match="not a safe file name"):
        files.safe_name(name)
