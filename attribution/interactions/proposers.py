"""Who proposes a set as a candidate: the names that results carry, and one bit for each in arrays.

| proposer | proposes |
|---|---|
| proxy | sets of largest coefficient in the spectrum of boosted trees, fitted on either half of the masks |
| screen | sets of large \\|z\\| among all pairs, or all triples of the strongest players |
| heredity | pairs whose members have main effects, and triples that contain two large pairs |
| sieve | triples of large \\|z\\| among all players |
| SPEX | sets that a structured design decodes |

The proposer decides how a set is tested: on all masks where a whole family was tested (screen, heredity, sieve), on the
half of the masks that did not propose it otherwise (proxy, SPEX).
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

Proposer = Literal["proxy", "screen", "heredity", "sieve", "SPEX"]
PROPOSERS: tuple[Proposer, ...] = get_args(Proposer)


def bit_of(proposer: Proposer) -> np.uint8:
    """Return the bit of a proposer.

    Parameters
    ----------
    proposer : Proposer

    Returns
    -------
    uint8
        One bit set.

    Examples
    --------
    >>> int(bit_of("proxy")), int(bit_of("heredity"))
    (1, 4)
    """
    return np.uint8(1 << PROPOSERS.index(proposer))


def proposers_of(bits: int) -> tuple[Proposer, ...]:
    """Return the proposers whose bits are set.

    Parameters
    ----------
    bits : int
        Sum of the bits of some proposers.

    Returns
    -------
    tuple of str
        In the order of `PROPOSERS`.

    Examples
    --------
    >>> proposers_of(5)
    ('proxy', 'heredity')
    """
    return tuple(proposer for place, proposer in enumerate(PROPOSERS) if int(bits) >> place & 1)
