"""Errors a person can act on. Each message says what was wrong, what was given and what to do."""

from __future__ import annotations


class CoterieError(Exception):
    """Base of the errors the command line prints as one message, without a traceback."""

    exit_code = 1


class CampaignMismatch(CoterieError):
    """A folder that belongs to another campaign."""

    exit_code = 3


class CampaignBusy(CoterieError):
    """Another driver is writing to the campaign."""

    exit_code = 4


class StoreError(CoterieError):
    """A table that cannot be read or written."""

    exit_code = 5


class IncompleteCampaign(CoterieError):
    """A stage whose input does not exist yet, or models that failed."""

    exit_code = 6


class NothingLearnt(CoterieError):
    """Models that are not above chance: nothing can be decided from them."""

    exit_code = 8
