#!/usr/bin/env python3
"""Writes the seed corpus of fuzz_npz: small archives of every kind, well formed and not. Standard library only; the same bytes each time.

Usage: make_npz_corpus.py FOLDER
"""
import io
import os
import struct
import sys
import zipfile
import zlib

DATE = (1980, 1, 1, 0, 0, 0)


def npy(descr, shape, data, fortran=False, version=1):
    text = "{'descr': %r, 'fortran_order': %r, 'shape': %r, }" % (descr, fortran, shape)
    prefix = 10 if version == 1 else 12
    text += " " * (-(prefix + len(text) + 1) % 64) + "\n"
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text.encode() + data


def npz(members, method=zipfile.ZIP_STORED, zip64=False):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        for name, data in members:
            info = zipfile.ZipInfo(name, DATE)
            info.compress_type = method
            with z.open(info, "w", force_zip64=zip64) as f:
                f.write(data)
    return out.getvalue()


def raw_zip(entries):
    """Archive with chosen lies: entries of (name, method, crc, packed, size, offset or None, bytes)."""
    body, central = b"", b""
    for name, method, crc, packed, size, offset, data in entries:
        name = name.encode()
        start = len(body) if offset is None else offset
        head = struct.pack("<HHHHHIIIHH", 20, 0, method, 0, 0x21, crc, packed, size, len(name), 0)
        central += struct.pack("<IH", 0x02014B50, 20) + head + struct.pack("<HHHII", 0, 0, 0, 0, start) + name
        body += struct.pack("<I", 0x04034B50) + head + name + data
    return body + central + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, len(entries), len(entries), len(central), len(body), 0)


def seeds():
    floats = struct.pack("<6f", *range(6))
    a = npy("<f4", (2, 3), floats)
    yield "stored.npz", npz([("a.npy", a), ("label.npy", npy("<i8", (2,), struct.pack("<2q", 1, 0)))])
    yield "deflated.npz", npz([("a.npy", a), ("b.npy", npy("|u1", (500,), bytes(500)))], zipfile.ZIP_DEFLATED)
    yield "zip64.npz", npz([("a.npy", a)], zip64=True)
    yield "fortran.npz", npz([("f.npy", npy("<f4", (2, 3), floats, fortran=True))])
    yield "fortran_deflated.npz", npz([("f.npy", npy("<i2", (2, 1, 3), bytes(12), fortran=True))], zipfile.ZIP_DEFLATED)
    yield "types.npz", npz([("t%d.npy" % i, npy(d, (2,), bytes(2 * n))) for i, (d, n) in enumerate(
        [("|b1", 1), ("|i1", 1), (">i2", 2), ("<u4", 4), (">f8", 8), ("<f2", 2), ("|V2", 2), ("<c8", 8), ("<c16", 16), ("<U3", 12)])])
    yield "scalar.npy", npy("<f8", (), struct.pack("<d", 2.5), version=2)
    yield "version3.npy", npy("<f4", (0, 4), b"", version=3)
    yield "readme.npz", npz([("README", b"no array"), ("a.npy", a)])
    crc = zlib.crc32(a)
    yield "bad_crc.npz", raw_zip([("a.npy", 0, crc ^ 1, len(a), len(a), None, a)])
    yield "duplicate.npz", raw_zip([("a.npy", 0, crc, len(a), len(a), None, a)] * 2)
    yield "overlap.npz", raw_zip([("a.npy", 0, crc, len(a), len(a), None, a), ("b.npy", 0, crc, len(a), len(a), 10, a)])
    yield "oversized.npz", raw_zip([("a.npy", 0, crc, 1 << 30, 1 << 30, None, a)])
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = deflater.compress(npy("|u1", (1 << 20,), bytes(1 << 20))) + deflater.flush()
    yield "bomb.npz", raw_zip([("a.npy", 8, 0, len(bomb), 1 << 31, None, bomb)])
    yield "method.npz", raw_zip([("a.npy", 14, crc, len(a), len(a), None, a)])
    yield "parent.npz", raw_zip([("../a.npy", 0, crc, len(a), len(a), None, a)])
    yield "structured.npy", npy([("x", "<f4")], (1,), bytes(4))
    yield "empty.npz", raw_zip([])
    yield "truncated.npz", npz([("a.npy", a)])[:-30]


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    for name, data in seeds():
        with open(os.path.join(folder, name), "wb") as f:
            f.write(data)


main()
