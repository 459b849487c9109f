"""A large archive that takes no room: RAW files of true size whose pixels are holes, in associations of four."""

from __future__ import annotations

from pathlib import Path

from acsrecipe.demo.raw import write_association
from acsrecipe.inputs.header import read_headers
from acsrecipe.inputs.layout import scan

NAXIS = {1: 4144, 2: 2068}
LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


def name_root(number: int) -> tuple[str, str]:
    """Give the rootnames of the association and of the exposure of a number: five associations a visit."""
    association, member = divmod(number, 4)
    visit, place = divmod(association, 5)
    label = LETTERS[visit // 36] + LETTERS[visit % 36]
    return f"j9l9{label}0{place + 1}0", f"j9l9{label}{LETTERS[10 + place]}{member}q"


def make_many(template: Path, folder: Path, count: int) -> list[str]:
    """Write that many RAW files after one of the mini demo; give the rootnames of their associations."""
    folder.mkdir(parents=True)
    content = template.read_bytes()
    hdus = scan(lambda offset, size: content[offset : offset + size], len(content), template.name)
    old = template.name[:9].encode()
    headers = []
    for hdu in hdus:
        raw = hdu.raw
        if hdu.data_size:
            for axis, size in NAXIS.items():
                at = raw.index(f"NAXIS{axis}  =".encode())
                raw = raw[: at + 10] + f"{size:>20d}".encode() + raw[at + 30 :]
        headers.append((raw, -(-2 * NAXIS[1] * NAXIS[2] // 2880) * 2880 if hdu.data_size else 0))
    associations: dict[str, list[str]] = {}
    for number in range(count):
        association, root = name_root(number)
        associations.setdefault(association, []).append(root)
        with (folder / f"{root}_raw.fits").open("wb") as file:
            for raw, gap in headers:
                file.write(raw.replace(old, root.encode()).replace(old.upper(), root.upper().encode()))
                file.seek(gap, 1)
            file.truncate()
    for association, roots in associations.items():
        write_association(folder / f"{association}_asn.fits", association, roots, "EXP-DTH")
    read_headers(folder / f"{name_root(0)[1]}_raw.fits")
    return sorted(associations)
