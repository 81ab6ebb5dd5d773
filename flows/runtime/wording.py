"""Numbers in messages: a count with its noun, a time with its unit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """What the evaluation of one mask is called.

    Attributes
    ----------
    noun : str
        One of what is counted.
    do, done : str
        The verb, and its participle.
    """

    noun: str
    do: str
    done: str


TRAINING = Work("model", "train", "trained")
ASKING = Work("mask", "evaluate", "evaluated")  # one fixed model: nothing is trained


def work_on(fixed_model: bool) -> Work:
    """Return what the evaluation of one mask is called: models are trained, or one fixed model is asked."""
    return ASKING if fixed_model else TRAINING


def plural(n: int, one: str, many: str | None = None) -> str:
    """Return a count with its noun in the right number.

    Parameters
    ----------
    n : int
    one : str
        The noun of one.
    many : str, optional
        The noun of any other number; `one` with an s by default.

    Returns
    -------
    str

    Examples
    --------
    >>> plural(1, "target"), plural(2_000, "target"), plural(0, "class", "classes")
    ('1 target', '2,000 targets', '0 classes')
    """
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """Return a time with the unit that a person would choose, to two digits.

    Parameters
    ----------
    seconds : float

    Returns
    -------
    str

    Examples
    --------
    >>> duration(0.00374), duration(4.81), duration(600.0), duration(90_000.0)
    ('3.7 ms', '4.8 s', '10 minutes', '25 hours')
    """
    units = ((1e-3, "ms", 1.0), (1.0, "s", 120.0), (60.0, "minutes", 7200.0), (3600.0, "hours", float("inf")))
    size, unit = next((size, unit) for size, unit, limit in units if seconds < limit)
    return f"{float(f'{seconds / size:.2g}'):,g} {unit}"
