"""Errors a person can act on. Each message says what was wrong, what was given and what to do."""

from __future__ import annotations


class CoterieError(Exception):
    """Base of the errors the command line prints as one message, without a traceback.

    Attributes
    ----------
    exit_code : int
        Code that the command exits with; 1 here, another one in each subclass.
    """

    exit_code = 1


class CampaignMismatch(CoterieError):
    """A folder that belongs to another campaign.

    Attributes
    ----------
    exit_code : int
        3.
    """

    exit_code = 3


class CampaignBusy(CoterieError):
    """Another driver is writing to the campaign.

    Attributes
    ----------
    exit_code : int
        4.
    """

    exit_code = 4


class StoreError(CoterieError):
    """A table that cannot be read or written.

    Attributes
    ----------
    exit_code : int
        5.
    """

    exit_code = 5


class IncompleteCampaign(CoterieError):
    """A stage whose input does not exist yet, or models that failed.

    Attributes
    ----------
    exit_code : int
        6.
    """

    exit_code = 6


class NothingLearnt(CoterieError):
    """Models that are not above chance: nothing can be decided from them.

    Attributes
    ----------
    exit_code : int
        8.
    """

    exit_code = 8
