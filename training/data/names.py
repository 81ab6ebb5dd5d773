"""Names of examples, as their owner knows them: one line of valid text, and back."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence

from training.errors import TrainingInputError

# Controls, line and paragraph separators, marks that change the direction of the text after them, and lone
# surrogates (Python's form of bytes that are no UTF-8). Every other character, spaces of all kinds included, stays.
_ESCAPED = re.compile("[\\\\\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_ESCAPES = re.compile(r"\\(\\|n|r|t|x[0-9a-f]{2}|u[0-9a-f]{4})")
_SHORT = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_LONG = {short: character for character, short in _SHORT.items()}


def as_name(text: str) -> str:
    r"""Escape what would break a line of text, so that a name is one line of valid Unicode.

    Parameters
    ----------
    text : str
        A path or another name; bytes of a file name that are no UTF-8 are surrogates (`os.fsdecode`).

    Returns
    -------
    str
        `text` with `\n`, `\r`, `\t`, `\\`, `\xff` (a byte) and `\u2028` (a character) in place of control
        characters, backslashes, undecodable bytes, line separators and direction marks. Any other text is
        returned as it is.

    Examples
    --------
    >>> as_name("train/cat/a.png")
    'train/cat/a.png'
    >>> print(as_name("two\nlines.png"), as_name("caf\udce9.png"))
    two\nlines.png caf\xe9.png
    """
    return _ESCAPED.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    if character in _SHORT:
        return _SHORT[character]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"


def original_name(name: str) -> str:
    r"""Undo `as_name`.

    Parameters
    ----------
    name : str
        A name out of a campaign or one of its plain lists.

    Returns
    -------
    str
        The path as the file system has it (`os.fsencode` gives its bytes).

    Examples
    --------
    >>> original_name(as_name("two\nlines.png")) == "two\nlines.png"
    True
    """
    return _ESCAPES.sub(_unescape, name)


def _unescape(found: re.Match[str]) -> str:
    escape = found[0]
    if escape in _LONG:
        return _LONG[escape]
    code = int(escape[2:], 16)
    return chr(0xDC00 + code) if escape[1] == "x" and code >= 0x80 else chr(code)


def check_unique(names: Sequence[str], what: str, where: Sequence[str] | None = None) -> None:
    """Check that no two names are the same.

    Parameters
    ----------
    names : sequence of str
    what : str
        What is named, in the plural: "training examples".
    where : sequence of str, optional
        The place of each, for the message; its row when absent.

    Raises
    ------
    TrainingInputError
        For the first name that two of them share; the message holds the name and both places.
    """
    seen: dict[str, int] = {}
    for row, name in enumerate(names):
        first = seen.setdefault(name, row)
        if first != row:
            places = [f"row {at}" if where is None else where[at] for at in (first, row)]
            raise TrainingInputError(
                f"two {what} have the name {name!r}: {places[0]} and {places[1]}. Names tell people which example a "
                f"decision is about: give each its own."
            )


def composed(text: str) -> str:
    """Return text in Unicode's composed form (NFC), in which names of classes and groups are compared.

    Examples
    --------
    >>> composed("cafe\u0301") == "caf\u00e9"
    True
    """
    return unicodedata.normalize("NFC", text)


def as_number(name: str) -> int | None:
    """Return the whole number that a name is written as; None where it is none.

    Examples
    --------
    >>> as_number("007"), as_number("cat")
    (7, None)
    """
    return int(name) if re.fullmatch("-?[0-9]{1,18}", name) else None


def natural_order(names: Iterable[str]) -> Callable[[str], tuple[int, str]]:
    """Return the sort key of class names: by number where all of them are numbers, else by text.

    Examples
    --------
    >>> sorted(["10", "9"], key=natural_order(["10", "9"])), sorted(["10", "9", "x"], key=natural_order("x"))
    (['9', '10'], ['10', '9', 'x'])
    """
    all_numbers = all(as_number(name) is not None for name in names)
    return lambda name: ((as_number(name) or 0) if all_numbers else 0, name)


def copy_name(original: str, number: int) -> str:
    """Name the planted copy of that number (from 1) after its original.

    Examples
    --------
    >>> copy_name("train/cat/a.png", 1), copy_name("train/cat/a.png", 2)
    ('train/cat/a.png (planted copy)', 'train/cat/a.png (planted copy 2)')
    """
    return f"{original} (planted copy{f' {number}' if number > 1 else ''})"
