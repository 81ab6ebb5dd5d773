"""What the lenses on one fixed model need beside their games: models to look at, and decisions that are tried."""

from flows.errors import CoterieError


class LensDecisionError(CoterieError):
    """A request of a lens's decision that cannot be met."""

    exit_code = 2
