# SPDX-License-Identifier: GPL-3.0-or-later
"""What a profile of a Go program holds, as far as a test has to know (google/pprof: proto/profile.proto)."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

SAMPLE_TYPE, SAMPLE, STRING_TABLE = 1, 2, 6
_VARINT, _LENGTH = 0, 2


def sample_types(data: bytes) -> list[str]:
    """Names of what is counted: inuse_space of a heap, cpu of the processor's time; ValueError for no profile."""
    fields = list(_fields(gzip.decompress(data)))
    strings = [value.decode() for number, value in fields if number == STRING_TABLE and isinstance(value, bytes)]
    if not strings or strings[0] != "":
        raise ValueError("a profile's table of strings begins with an empty one")
    kinds = [dict(_fields(value)) for number, value in fields if number == SAMPLE_TYPE and isinstance(value, bytes)]
    return [strings[int(kind[1])] for kind in kinds]


def profile(*kinds: str) -> bytes:
    """A profile without a sample, as a program that has done nothing gives it."""
    table = ["", *kinds, "count"]
    types = b"".join(
        _field(SAMPLE_TYPE, bytes([1 << 3, number, 2 << 3, len(kinds) + 1])) for number, _ in enumerate(kinds, 1)
    )
    return gzip.compress(types + b"".join(_field(STRING_TABLE, text.encode()) for text in table))


def _field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | _LENGTH, len(data)]) + data


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        value, at = _varint(data, at)
        if key & 7 == _LENGTH:
            if at + value > len(data):
                raise ValueError("a field goes beyond the end")
            yield key >> 3, data[at : at + value]
            at += value
        elif key & 7 == _VARINT:
            yield key >> 3, value
        else:
            raise ValueError(f"no profile has a field of wire type {key & 7}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data):
            raise ValueError("a number goes beyond the end")
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at
