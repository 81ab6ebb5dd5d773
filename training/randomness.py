"""Counter-based random streams: any piece of a campaign's randomness can be drawn again, anywhere, alone.

All streams are raw 64-bit words of Philox4x64-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1,
2, 3"). NumPy guarantees the words of a bit generator for a given key and counter across versions and
platforms; it gives no such promise for what a `Generator` makes of them, so permutations and initial weights
are made from words here.
"""

from __future__ import annotations

import hashlib

import numpy as np

from training.errors import TrainingInputError

WORDS_PER_COUNTER = 4  # one Philox4x64 counter yields four 64-bit words


def stream(purpose: str, seed: int) -> np.random.Philox:
    """Philox generator whose key is a hash of (purpose, seed), so that no two purposes share a stream.

    `seed` may be any integer. Raises TrainingInputError when it is not an integer.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise TrainingInputError(f"a seed must be an integer; got {seed!r}. Give a whole number such as 0.")
    digest = hashlib.blake2b(f"coterie/{purpose}/{int(seed)}".encode(), digest_size=16).digest()
    return np.random.Philox(key=np.frombuffer(digest, dtype="<u8").astype(np.uint64))


def word_rows(purpose: str, seed: int, first_row: int, n_rows: int, n_words: int) -> np.ndarray:
    """Rows `first_row` .. `first_row + n_rows - 1` of an endless table of words, (n_rows, n_words) uint64.

    Row k occupies the counters k*b .. (k+1)*b - 1 with b = ceil(n_words / 4): it depends on (purpose, seed,
    k, n_words) and on nothing else, and neighbouring rows come out of one call.
    """
    counters_per_row = -(-n_words // WORDS_PER_COUNTER)
    generator = stream(purpose, seed)
    generator.advance(first_row * counters_per_row)
    words = generator.random_raw(n_rows * counters_per_row * WORDS_PER_COUNTER)
    return words.reshape(n_rows, counters_per_row * WORDS_PER_COUNTER)[:, :n_words]


def uniforms(words: np.ndarray) -> np.ndarray:
    """Words to float64 in [0, 1): the upper 53 bits."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permutation(words: np.ndarray) -> np.ndarray:
    """Random order of the last axis: the order in which the words sort. int64, same shape."""
    return np.argsort(words, axis=-1, kind="stable")


def training_seed(campaign_seed: int, seed_group: int, replicate: int) -> int:
    """Seed (63 bits) of one training: a function of the campaign's seed, the seed group and the replicate
    alone.

    Rows with the same seed group and replicate share initialisation, order and augmentation.
    Raises TrainingInputError for a negative seed group or replicate.
    """
    for name, value in (("seed_group", seed_group), ("replicate", replicate)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 0 <= value < 2**63:
            raise TrainingInputError(f"{name} must be a whole number from 0 to 2^63 - 1; got {value!r}.")
    key = stream("training_seed", campaign_seed).state["state"]["key"]
    # Counter words 1 and 2 are the group and the replicate; word 0 is left at zero because reading increments
    # it.
    generator = np.random.Philox(key=key, counter=np.array([0, seed_group, replicate, 0], dtype=np.uint64))
    return int(generator.random_raw()) >> 1
