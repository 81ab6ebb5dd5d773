"""The base of every section of a configuration, and the bound that several sections share."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

# Members of the largest set considered, and of the largest set to certify: attribution's MAX_ORDER (tests/conf).
MAX_ORDER = 6


class Section(BaseModel):
    """Base of every section: immutable, no key that is not declared, no number that is infinite or NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
