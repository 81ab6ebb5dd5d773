"""Numbers in messages: a count with its noun."""

from __future__ import annotations


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
