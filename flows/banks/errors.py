"""The error of a bank that cannot be imported."""

from __future__ import annotations

from flows.errors import CoterieError


class BankError(CoterieError):
    """Files of a bank that cannot be used. Nothing of the bank is changed, and no campaign is left half-written.

    Attributes
    ----------
    exit_code : int
        8.
    """

    exit_code = 8
