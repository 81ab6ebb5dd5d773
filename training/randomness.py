"""Counter-based random streams: any part of a campaign's randomness can be drawn again, on any machine, by itself.

All streams are raw 64-bit words of Philox4x64-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1,
2, 3"). NumPy guarantees the words of a bit generator for a given key and counter across versions and
platforms. It gives no such promise for the methods of a `Generator`, so permutations and initial weights are computed
from the words here.
"""

from __future__ import annotations

import hashlib

import numpy as np

from training.errors import TrainingInputError

WORDS_PER_COUNTER = 4  # one Philox4x64 counter yields four 64-bit words


def stream(purpose: str, seed: int) -> np.random.Philox:
    """Return the random stream of a purpose: a Philox generator whose key is a hash of (purpose, seed).

    Parameters
    ----------
    purpose : str
        Names the stream; no two purposes share one.
    seed : int
        Any integer.

    Raises
    ------
    TrainingInputError
        When the seed is no integer.

    Examples
    --------
    >>> bool(stream("masks", 0).random_raw() == stream("order", 0).random_raw())
    False
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise TrainingInputError(f"a seed must be an integer; got {seed!r}. Give a whole number such as 0.")
    digest = hashlib.blake2b(f"coterie/{purpose}/{int(seed)}".encode(), digest_size=16).digest()
    return np.random.Philox(key=np.frombuffer(digest, dtype="<u8").astype(np.uint64))


def word_rows(purpose: str, seed: int, first_row: int, n_rows: int, n_words: int) -> np.ndarray:
    """Return rows of an endless table of random words.

    Parameters
    ----------
    purpose : str
        Names the stream.
    seed : int
        Any integer.
    first_row : int
        Number of the first row, from 0.
    n_rows, n_words : int
        Rows, and words of each.

    Returns
    -------
    (n_rows, n_words) uint64 array
        Row k depends on (purpose, seed, k, n_words) alone.

    Notes
    -----
    Row k occupies the counters k*b .. (k+1)*b - 1 with b = ceil(n_words / 4).

    Examples
    --------
    >>> bool((word_rows("masks", 7, 0, 3, 5)[2] == word_rows("masks", 7, 2, 1, 5)[0]).all())
    True
    """
    counters_per_row = -(-n_words // WORDS_PER_COUNTER)
    generator = stream(purpose, seed)
    generator.advance(first_row * counters_per_row)
    words = generator.random_raw(n_rows * counters_per_row * WORDS_PER_COUNTER)
    return words.reshape(n_rows, counters_per_row * WORDS_PER_COUNTER)[:, :n_words]


def uniforms(words: np.ndarray) -> np.ndarray:
    """Return words as float64 in [0, 1): their upper 53 bits.

    Examples
    --------
    >>> uniforms(np.array([0, 2**63], dtype=np.uint64)).tolist()
    [0.0, 0.5]
    """
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permutation(words: np.ndarray) -> np.ndarray:
    """Return random orders along the last axis, int64 of the same shape: the order in which the words sort.

    Examples
    --------
    >>> permutation(np.array([30, 10, 20], dtype=np.uint64)).tolist()
    [1, 2, 0]
    """
    return np.argsort(words, axis=-1, kind="stable")


def training_seed(campaign_seed: int, seed_group: int, replicate: int) -> int:
    """Return the seed of one training: a function of the campaign's seed, the seed group and the replicate alone.

    Parameters
    ----------
    campaign_seed : int
        Any integer.
    seed_group : int
        Models of one seed group and replicate share initialisation, order and augmentation.
    replicate : int
        Number of the repeated training, from 0.

    Returns
    -------
    int
        63 bits.

    Raises
    ------
    TrainingInputError
        For a seed that is no integer and for a negative seed group or replicate.

    Examples
    --------
    >>> training_seed(0, seed_group=5, replicate=0) == training_seed(0, seed_group=5, replicate=0)
    True
    >>> training_seed(0, seed_group=5, replicate=0) == training_seed(0, seed_group=5, replicate=1)
    False
    """
    for name, value in (("seed_group", seed_group), ("replicate", replicate)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 0 <= value < 2**63:
            raise TrainingInputError(f"{name} must be a whole number from 0 to 2^63 - 1; got {value!r}.")
    key = stream("training_seed", campaign_seed).state["state"]["key"]
    # Counter words 1 and 2 are the group and the replicate; reading increments word 0, so it stays at zero.
    generator = np.random.Philox(key=key, counter=np.array([0, seed_group, replicate, 0], dtype=np.uint64))
    return int(generator.random_raw()) >> 1
