"""How a product was made, written into the product: a few cards, and a table of every changed card with its reason.

It is done last, on the finished file in its attempt folder, after proof of success; the log keeps the hash of the
file as engine and steps left it. Nothing that FITS readers of HST go by is touched: extensions are found by name,
``ACSRECIPE`` is none of theirs (nor of DRAGONS, whose tables are ``PROVENANCE`` and ``HISTORY``), it stands behind
all others, and NEXTEND counts it, as updatewcs counts what it appends.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from acsrecipe import __version__
from acsrecipe.errors import IntegrityError
from acsrecipe.files import CHUNK, copy_file, open_plain, write_at, writing
from acsrecipe.inputs.cards import pack, write_card, write_value
from acsrecipe.inputs.header import Edit, edit
from acsrecipe.inputs.layout import Hdu, scan
from acsrecipe.inputs.model import Value
from acsrecipe.plan.model import Plan, Scalar, Task, Why

EXTENSION = "ACSRECIPE"
COLUMNS = ("FILE", "HDU", "KEYWORD", "OLD", "NEW", "KIND", "WHY", "ADDRESS")
VOLATILE = ("ACSR_PLN", "ACSR_GIT", "ACSR_SRV")
"""Cards that may differ between two runs that are equal otherwise."""

LONGEST = 68
REMARKS = (
    "How this file was made, by acsrecipe. A row is a header card of FILE, as",
    "it was delivered, that was set before calibration, or a reference that",
    "was chosen. OLD and NEW are values as cards have them. KIND is recipe,",
    "crds, irrelevant (the type is not needed) or default; WHY is the reason;",
    "ADDRESS is the line of the recipe.",
)
"""At most 72 characters each."""

Row = tuple[str, str, str, str, str, str, str, str]


@dataclass(frozen=True)
class Stamp:
    """What is written into a product: cards of the primary header, and rows of the table."""

    cards: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]


def make_stamp(plan: Plan, plan_id: str, task: Task, revision: str = "") -> Stamp:
    """Gather what a task's products should say of themselves.

    Parameters
    ----------
    plan : Plan
    plan_id : str
        Its identity; making it anew for each task would take long.
    task : Task
    revision : str
        The git revision of the recipe, or empty.
    """
    engine = f"{plan.engine.name} {plan.engine.version}".strip() if plan.engine else ""
    cards = {
        "ACSR_VER": __version__,
        "ACSR_RCP": plan.recipe,
        "ACSR_SHA": plan.recipe_sha256,
        "ACSR_GIT": revision,
        "ACSR_PLN": plan_id,
        "ACSR_ENG": engine,
        "ACSR_SRV": plan.context.server if plan.context else "",
    }
    return Stamp(tuple((name, _plain(text)[:LONGEST]) for name, text in cards.items() if text), _rows(plan, task))


def _rows(plan: Plan, task: Task) -> tuple[Row, ...]:
    mine = {f"{exposure}_" for exposure in task.exposures}

    def is_mine(file: str) -> bool:
        return any(_bare(file).startswith(root) for root in mine)

    rows = [
        _row(change.file, change.hdu, change.keyword, change.old, change.new, change.why)
        for change in plan.header_changes
        if is_mine(change.file)
    ]
    changed = {}
    for one in plan.reference_changes:
        if is_mine(one.file):
            changed[one.file, one.keyword] = _row(one.file, "PRIMARY", one.keyword, one.old, one.new, one.why)
    for held in plan.references:
        for file in held.files:
            if is_mine(file):
                kept = _row(file, "PRIMARY", held.keyword, held.value, held.value, held.why)
                changed.setdefault((file, held.keyword), kept)
    return (*rows, *(changed[key] for key in sorted(changed)))


def _row(file: str, hdu: str, keyword: str, old: Scalar, new: Scalar, why: Why) -> Row:
    return (_bare(file), hdu, keyword, _value(old), _value(new), why.kind, _plain(why.text), _plain(why.where))


def _bare(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _value(value: Scalar) -> str:
    return write_value(_plain(value) if isinstance(value, str) else value).strip()


def _plain(text: str) -> str:
    """Write a text as FITS allows it: printable ASCII, others as escapes."""
    return "".join(
        c if " " <= c <= "~" else c.encode("ascii", "backslashreplace").decode() for c in text.replace("\n", " ")
    )


@dataclass(frozen=True)
class Original:
    """How to read a stamped product as it was before: another head, then these bytes of the file.

    Attributes
    ----------
    head : bytes
        The primary header's blocks before the stamp.
    start, end : int
        Where the rest lies in the stamped file.
    """

    head: bytes
    start: int
    end: int


def stamp_product(path: Path, stamp: Stamp) -> Original:
    """Write a stamp into a finished product, in its place: an attempt's own file, which nobody else reads yet.

    Every data unit, and every header but the primary one, keeps its bytes. Where the primary header needs another
    block, what stands behind it moves on; whatever fails or dies meanwhile costs the attempt, never a product.
    A file with a second name is copied first, so that what has the other name stays as it is.

    Raises
    ------
    PlanError
        The product is not a whole FITS file.
    OutputError
        The disk does not take it.
    """
    if path.stat().st_nlink > 1 or not os.access(path, os.W_OK):
        _own(path)
    with open_plain(path) as (descriptor, status), writing(path), _open_to_change(path) as out:
        hdus = scan(lambda offset, size: os.pread(descriptor, size, offset), status.st_size, str(path))
        old, new = hdus[0].raw, edit(hdus, _stamp_edits(hdus, stamp), str(path))[0]
        original = Original(old, len(new), status.st_size + len(new) - len(old))
        if len(new) < len(old):
            msg = f"its primary header would lose {len(old) - len(new)} bytes by being stamped"
            raise IntegrityError(msg, where=str(path), code="F004")
        if len(new) > len(old):
            _move(out, len(old), status.st_size, len(new))
        write_at(out, new, 0)
        write_at(out, _table(stamp.rows, 1 + sum(hdu.header.name == EXTENSION for hdu in hdus)), original.end)
    return original


def sha256_of_original(path: Path, original: Original) -> str:
    """Hash a stamped product as it was before it was stamped: sha256, hexadecimal."""
    digest = hashlib.sha256(original.head)
    buffer = memoryview(bytearray(CHUNK))
    with open_plain(path) as (descriptor, _):
        for at in range(original.start, original.end, CHUNK):
            piece = buffer[: original.end - at]
            _read_at(descriptor, piece, at)
            digest.update(piece)
    return digest.hexdigest()


def _stamp_edits(hdus: Sequence[Hdu], stamp: Stamp) -> list[Edit]:
    edits: list[Edit] = [("PRIMARY", name, text) for name, text in stamp.cards]
    # Cards of an earlier stamp that this one has no value for would be false.
    here = {name for name, _ in stamp.cards}
    kept = [name for name in hdus[0].header.cards if name.startswith("ACSR_") and name not in here]
    return [*edits, *(("PRIMARY", name, "") for name in kept), ("PRIMARY", "NEXTEND", len(hdus))]


def _own(path: Path) -> None:
    copy = path.with_name(f"{path.name}.own")
    copy_file(path, copy)
    with writing(path):
        copy.replace(path)


@contextmanager
def _open_to_change(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _move(descriptor: int, start: int, end: int, to: int) -> None:
    """Move the bytes from ``start`` to ``end`` further back in a file, the last ones first."""
    buffer = memoryview(bytearray(CHUNK))
    at = end
    while at > start:
        count = min(CHUNK, at - start)
        at -= count
        _read_at(descriptor, buffer[:count], at)
        write_at(descriptor, buffer[:count], at + to - start)


def _read_at(descriptor: int, buffer: memoryview, at: int) -> None:
    count = os.preadv(descriptor, [buffer], at)
    if count != len(buffer):
        msg = f"ended {len(buffer) - count} bytes early while it was read"
        raise IntegrityError(msg, code="F004")


def _table(rows: Sequence[Row], version: int) -> bytes:
    cells = [[text.encode("ascii") for text in row] for row in rows]
    widths = [max([1, *(len(row[column]) for row in cells)]) for column in range(len(COLUMNS))]
    cards = [
        b"XTENSION= 'BINTABLE'           / binary table extension".ljust(80),
        write_card("BITPIX", 8),
        write_card("NAXIS", 2),
        write_card("NAXIS1", sum(widths)),
        write_card("NAXIS2", len(cells)),
        write_card("PCOUNT", 0),
        write_card("GCOUNT", 1),
        write_card("TFIELDS", len(COLUMNS)),
    ]
    for number, (name, width) in enumerate(zip(COLUMNS, widths, strict=True), 1):
        cards += [write_card(f"TTYPE{number}", name), write_card(f"TFORM{number}", f"{width}A")]
    cards += [write_card("EXTNAME", EXTENSION), write_card("EXTVER", version)]
    cards += [f"COMMENT {line}".encode("ascii").ljust(80) for line in REMARKS]
    data = b"".join(text.ljust(width) for row in cells for text, width in zip(row, widths, strict=True))
    return pack(cards) + data.ljust(-(-len(data) // 2880) * 2880, b"\0")


def read_stamps(path: Path) -> tuple[dict[str, str], ...]:
    """Read the rows of all stamps in a product, by column name; none where there is no stamp.

    Raises
    ------
    PlanError
        The file is not a whole FITS file.
    """
    rows: list[dict[str, str]] = []
    with open_plain(path) as (descriptor, status):
        for hdu in scan(lambda offset, size: os.pread(descriptor, size, offset), status.st_size, str(path)):
            if hdu.header.name == EXTENSION:
                rows += _read_table(hdu.header.cards, os.pread(descriptor, hdu.data_size, hdu.data_start))
    return tuple(rows)


def _read_table(cards: Mapping[str, Value], data: bytes) -> list[dict[str, str]]:
    columns = []
    for number in range(1, int(str(cards.get("TFIELDS") or 0)) + 1):
        form = str(cards.get(f"TFORM{number}") or "")
        if not form.endswith("A") or not form[:-1].isdigit():
            return []
        columns.append((str(cards.get(f"TTYPE{number}")), int(form[:-1])))
    width = sum(size for _, size in columns)
    rows = []
    for start in range(0, len(data) - width + 1, max(width, 1)):
        row, at = {}, start
        for name, size in columns:
            row[name] = data[at : at + size].decode("ascii", "replace").rstrip()
            at += size
        rows.append(row)
    return rows
