"""Arithmetic in GF(2^m) by tables of logarithms, on whole arrays."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from attribution.errors import AttributionError

Field = NDArray[np.int32]  # elements of GF(2^m), 0 .. 2^m - 1

# Primitive polynomials over GF(2), bit k for x^k (Lin and Costello, Error Control Coding, table 2.7).
_PRIMITIVE = {
    2: 0b111, 3: 0b1011, 4: 0b10011, 5: 0b100101, 6: 0b1000011, 7: 0b10001001, 8: 0b100011101, 9: 0b1000010001,
    10: 0b10000001001, 11: 0b100000000101, 12: 0b1000001010011, 13: 0b10000000011011, 14: 0b100010001000011,
    15: 0b1000000000000011, 16: 0b10001000000001011,
}  # fmt: skip


class GaloisField:
    """GF(2^m): products, quotients and powers of a primitive element.

    Parameters
    ----------
    m : int
        2 to 16.

    Attributes
    ----------
    order : int
        2^m - 1, the number of elements other than 0.

    Examples
    --------
    >>> field = GaloisField(3)
    >>> field.power(np.arange(8)).tolist()
    [1, 2, 4, 3, 6, 7, 5, 1]
    >>> int(field.times(np.int32(6), np.int32(7)))
    4
    """

    def __init__(self, m: int) -> None:
        if m not in _PRIMITIVE:
            raise AttributionError(f"GF(2^m) has tables for m = 2..16; got m = {m}.")
        self.m, self.order = m, (1 << m) - 1
        powers = np.empty(self.order, np.int32)
        value = 1
        for exponent in range(self.order):
            powers[exponent] = value
            value <<= 1
            if value >> m:
                value ^= _PRIMITIVE[m]
        # The logarithm of 0 is so large that every sum with it reads a 0 off the table.
        self._exp = np.zeros(4 * self.order + 1, np.int32)
        self._exp[: 2 * self.order] = np.tile(powers, 2)
        self._log = np.full(1 << m, 2 * self.order, np.int32)
        self._log[powers] = np.arange(self.order)

    def power(self, exponents: NDArray[np.int64] | Field) -> Field:
        """Return the primitive element to the powers given, which may be negative."""
        return self._exp[np.mod(exponents, self.order)]

    def times(self, a: Field, b: Field) -> Field:
        """Multiply, elementwise with broadcasting."""
        return self._exp[self._log[a] + self._log[b]]

    def over(self, a: Field, b: Field) -> Field:
        """Divide a by b, elementwise; b must not be 0."""
        return np.where(a == 0, 0, self._exp[np.minimum(self._log[a], self.order) - self._log[b] + self.order])

    def log(self, a: Field) -> Field:
        """Return the exponent of each element; 2 * order for 0."""
        return self._log[a]

    def exp(self, exponents: Field) -> Field:
        """Return the primitive element to powers 0 .. 4 * order, of which those from 2 * order on are 0."""
        return self._exp[exponents]


@cache
def galois_field(m: int) -> GaloisField:
    """Return the field, made once."""
    return GaloisField(m)
