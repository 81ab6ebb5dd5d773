"""The base of every section of a configuration, and the bound that several sections share."""

from __future__ import annotations

import types
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

# Members of the largest set considered, and of the largest set to certify: attribution's MAX_ORDER (tests/conf).
MAX_ORDER = 6


class Section(BaseModel):
    """Base of every section: immutable, no key that is not declared, no number that is infinite or NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean_for_a_number(cls, given: object, info: ValidationInfo) -> object:
        """Python counts True as 1: pydantic takes it for a number, and a person who wrote it meant something else."""
        kinds = _plain_types(cls.model_fields[str(info.field_name)].annotation)
        if bool not in kinds and kinds & {int, float} and _holds_boolean(given):
            raise PydanticCustomError("int_type" if int in kinds else "float_type", "a number is needed")
        return given


def _plain_types(annotation: Any) -> set[Any]:
    """The types that an annotation is built of: {int, str} for dict[str, int] | None; those of a Literal's values."""
    if get_origin(annotation) is Literal:
        return {type(value) for value in get_args(annotation)}
    inner = get_args(annotation)
    if inner and get_origin(annotation) in (Union, types.UnionType, tuple, list, dict):
        return set().union(*map(_plain_types, inner))
    return {annotation}


def _holds_boolean(given: object) -> bool:
    if isinstance(given, dict):
        return any(map(_holds_boolean, given.values()))
    if isinstance(given, (list, tuple)):
        return any(map(_holds_boolean, given))
    return isinstance(given, bool)
