"""The idx format of MNIST: a magic number, the sizes, then the values, all big-endian.

Bytes 0-1 are zero, byte 2 says the type, byte 3 the number of dimensions, then 4 bytes a dimension.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgan.errors import SourceError

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(data: bytes, name: str = "the file") -> NDArray[Any]:
    """The array that the bytes of an idx file hold.

    Args:
        data: the decompressed bytes.
        name: what to call the file in an error.

    Raises:
        SourceError: no idx file, or one that is cut short or too long.

    >>> read_idx(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9])).tolist()
    [7, 9]
    """
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _TYPES or not data[3]:
        raise SourceError(
            f"{name} begins with {data[:4].hex() or 'nothing'}",
            rule="an idx file begins with 0000, a type (08 to 0e) and the number of dimensions",
            repair="check that it is the right file, and decompressed",
        )
    dtype, dimensions = np.dtype(_TYPES[data[2]]), data[3]
    start = 4 + 4 * dimensions
    if len(data) < start:
        raise SourceError(f"{name} has {len(data)} bytes", rule=f"its header alone has {start}")
    shape = struct.unpack(f">{dimensions}I", data[4:start])
    expected = start + math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise SourceError(
            f"{name} has {len(data):,} bytes, and its header announces {shape}",
            rule=f"that shape takes {expected:,} bytes",
            reason="the file is cut short or damaged" if len(data) < expected else "",
            repair="fetch the file again",
        )
    array = np.frombuffer(data, dtype=dtype, offset=start).reshape(shape)
    return array.astype(dtype.newbyteorder("="))
