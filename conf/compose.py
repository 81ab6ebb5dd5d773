"""From a configuration's name and command-line overrides to a checked `CampaignConfig`.

Hydra's compose API reads the YAML groups; its `@hydra.main` is not used because it takes over logging and makes
folders of its own.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf.errors import MissingMandatoryValue
from pydantic import BaseModel, ValidationError

from conf.games import FUNCTION
from conf.schema import CampaignConfig

CONF_FOLDER = Path(__file__).resolve().parent


class ConfigError(ValueError):
    """A configuration that cannot be used: what is wrong, what was given, what to do."""


def available() -> list[str]:
    """Names of the configurations that ship with the project."""
    return sorted(path.stem for path in CONF_FOLDER.glob("*.yaml"))


def compose(name: str, overrides: Sequence[str] = ()) -> CampaignConfig:
    """Read configuration `name` (or a YAML file's path), apply `key=value` overrides, and check the result.

    Raises ConfigError naming the key, the value and the allowed range.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    folder, stem = _locate(name)
    given = list(overrides)
    for text in given:
        _check_form(text, may_delete=True)
        key, _, value = text.partition("=")
        if key in _groups() and not (CONF_FOLDER / key).is_dir():
            raise ConfigError(
                f"{key} is a section without files of its own; got {text!r}. Set its keys one by one, {key}.KEY=VALUE"
            )
        if key in _groups() and value.strip() in ("", "null"):
            raise ConfigError(f"{key} names a file in conf/{key}/; got {text!r}. Leave it out for the default")
    given = list(map(_as_text, given))
    # The YAML files leave out what is default, and Hydra takes a key that no file holds only where ++ adds it.
    given = [f"++{text.lstrip('+')}" if _is_key(text.partition("=")[0].lstrip("+")) else text for text in given]
    if folder != CONF_FOLDER:
        given.append(f"hydra.searchpath=[file://{CONF_FOLDER}]")
    try:
        with initialize_config_dir(config_dir=str(folder), version_base="1.3"):
            composed = hydra_compose(config_name=stem, overrides=given)
            raw = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_explain_hydra(error, overrides)) from error
    except (YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{folder / stem}.yaml cannot be read as YAML: {' '.join(str(error).split())}") from error
    return validate(raw)


def recompose(saved: Mapping[str, Any], overrides: Sequence[str] = ()) -> CampaignConfig:
    """Apply `key=value` overrides to a configuration that was resolved before, and check the result.

    Parameters
    ----------
    saved
        A whole configuration as plain values, as `CampaignConfig.model_dump` gives it.
    overrides
        Single keys, in the grammar of the command line. Groups (`dataset=digits`) belong to `compose`.

    Raises
    ------
    ConfigError
        For an unknown key, a group, or a value out of range.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException
    from omegaconf import OmegaConf

    merged = OmegaConf.create(dict(saved))
    for text in overrides:
        _check_form(text)
    overrides = list(map(_as_text, overrides))
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise ConfigError(_explain_hydra(error, overrides)) from error
    for text, override in zip(overrides, parsed, strict=True):
        key = override.key_or_group
        if key in _groups():
            raise ConfigError(
                f"{key} is a group of settings, and a campaign's folder has its own; got {text!r}. Override single "
                f"keys ({key}.…), or name a configuration instead of the folder"
            )
        if override.is_delete() or override.is_sweep_override():
            raise ConfigError(f"overrides are written key=value; got {text!r}. Example: sampler.alpha=0.3")
        if not _is_key(key):
            near = difflib.get_close_matches(key, known_keys(), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"unknown key {key!r} (given as {text!r}).{hint}")
        OmegaConf.update(merged, key, override.value())
    return validate(OmegaConf.to_container(merged, resolve=True))


def _check_form(text: str, may_delete: bool = False) -> None:
    """Raise ConfigError for an argument that is no override; ~key deletes, which only a named configuration knows."""
    if may_delete and text.startswith("~") and text.strip("~ "):
        return
    key, sign, _ = text.partition("=")
    if not sign:
        raise ConfigError(f"overrides are written key=value; got {text!r}. Example: sampler.alpha=0.3")
    if not key.strip("+~ "):
        raise ConfigError(f"no key stands before the = in {text!r}. Overrides are written key=value: sampler.alpha=0.3")
    meant = f"{key.strip()}={text.partition('=')[2].strip(' =')}"
    if key != key.strip() or text.partition("=")[2].startswith("="):
        raise ConfigError(f"overrides are written key=value, with one = and no spaces; got {text!r}. Write {meant}")


def _as_text(override: str) -> str:
    """Quote the value of a key that holds text where the grammar cannot read it, or reads several values.

    A shell takes the quotes of `dataset.path='my pictures (2)'` away, and such a folder is as good as another.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    key, _, value = override.partition("=")
    if key.lstrip("+") not in _text_keys() or value[:1] in ("'", '"') or "\0" in value:
        return override
    try:
        if not OverridesParser.create().parse_override(override).is_sweep_override():
            return override
    except HydraException:
        pass
    return f"{key}={_quoted(value)}"


def _quoted(value: str) -> str:
    """A text as the grammar of overrides quotes it: backslashes only where they stand before a quote."""
    escaped = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), value)
    return f"'{escaped}'"


def validate(raw: Any) -> CampaignConfig:
    """Check a plain dictionary. Raises ConfigError listing every fault with its key, value and range."""
    try:
        return CampaignConfig.model_validate(raw)
    except ValidationError as error:
        lines = [_explain_fault(dict(fault)) for fault in error.errors()]
        raise ConfigError("\n".join(dict.fromkeys(lines))) from error


def _locate(name: str) -> tuple[Path, str]:
    if name.endswith((".yaml", ".yml")):
        path = Path(name).expanduser().resolve()
        if not path.is_file():
            raise ConfigError(f"no configuration file {name!r}. Give an existing YAML file or one of {available()}")
        return path.parent, path.stem
    if name not in available():
        near = difflib.get_close_matches(name, available(), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(
            f"no configuration named {name!r}.{hint} Known: {', '.join(available())}; or give the path of a YAML file"
        )
    return CONF_FOLDER, name


def _explain_hydra(error: Exception, overrides: Sequence[str]) -> str:
    """Hydra's message, preceded by the override at fault and its nearest known key."""
    from hydra.errors import OverrideParseException

    message = [line.strip() for line in str(error).split("Config search path")[0].splitlines() if line.strip()]
    first = message[0] if message else type(error).__name__
    if isinstance(error, MissingMandatoryValue):
        key = error.full_key or "a key"
        return f"{key} is required and was not given. Set {key}=… on the command line"
    for text in overrides:
        key = text.split("=", 1)[0].lstrip("+~")
        if key not in known_keys() and key not in _groups() and (key in first or "override" in first.lower()):
            near = difflib.get_close_matches(key, [*known_keys(), *_groups()], n=1)
            hint = f" Did you mean {near[0]!r}?" if near else f" Sections: {', '.join(_groups())}."
            return f"unknown key {key!r} (given as {text!r}).{hint}"
    if isinstance(error, OverrideParseException):
        key, _, value = error.override.lstrip("+").partition("=")
        why = " ".join(message).split(" See https://")[0]
        return (
            f"{key}: the value {value!r} cannot be read ({why}). Brackets, braces, commas, colons, ~ and quotes belong "
            f"to the grammar of overrides: put such a value into quotes, {key}='…', and the whole into the shell's"
        )
    return f"the configuration could not be read: {' '.join(message) or first}"


def known_keys() -> list[str]:
    """Every dotted key of a configuration."""

    def walk(model: type[BaseModel], prefix: str) -> list[str]:
        keys: list[str] = []
        for key, field in model.model_fields.items():
            inner = field.annotation
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                keys += walk(inner, f"{prefix}{key}.")
            else:
                keys.append(f"{prefix}{key}")
        return keys

    return walk(CampaignConfig, "")


def _text_keys() -> list[str]:
    """Dotted keys that hold a text, whatever it is."""

    def walk(model: type[BaseModel], prefix: str) -> list[str]:
        keys: list[str] = []
        for key, field in model.model_fields.items():
            inner = field.annotation
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                keys += walk(inner, f"{prefix}{key}.")
            elif inner in (str, str | None):
                keys.append(f"{prefix}{key}")
        return keys

    return walk(CampaignConfig, "")


def _is_key(key: str) -> bool:
    """Whether a dotted key is one of a configuration's, or lies inside one that holds a dictionary."""
    known = known_keys()
    return key in known or any(key.startswith(f"{one}.") for one in known)


def _groups() -> list[str]:
    return [key for key, field in CampaignConfig.model_fields.items() if field.annotation is not str]


_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text (put a number into quotes of its own: '\"2024\"')",
}
_TYPE_TAGS = {"str", "int", "float", "bool"}
_RANGES = {"gt": "greater than {gt}", "ge": "at least {ge}", "lt": "less than {lt}", "le": "at most {le}"}


def _allowed(key: str) -> str:
    """The allowed range of a dotted key, in words."""
    model: Any = CampaignConfig
    field = None
    for part in key.split("."):
        if not (isinstance(model, type) and issubclass(model, BaseModel)) or part not in model.model_fields:
            return ""
        field = model.model_fields[part]
        model = field.annotation
    if field is None:
        return ""
    words = [
        text.format(**{name: getattr(rule, name)})
        for rule in field.metadata
        for name, text in _RANGES.items()
        if getattr(rule, name, None) is not None
    ]
    return " and ".join(words)


def _explain_fault(fault: Mapping[str, Any]) -> str:
    # Pydantic names the alternatives of a union (str, int) and places in a list as if they were keys.
    key = ".".join(str(part) for part in fault["loc"] if part not in _TYPE_TAGS and not isinstance(part, int))
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, known_keys(), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return f"unknown key {key!r} (value {fault['input']!r}).{hint} See conf/ for the keys that exist"
    if fault["type"] == "missing":
        return f"{key} is required and was not given. Set {key}=…"
    if fault["type"] == "value_error":
        return f"{key}: {fault['ctx']['error']}"
    allowed = _allowed(key)
    if fault["type"] == "string_pattern_mismatch" and fault["ctx"]["pattern"] == FUNCTION:
        allowed = "written package.module:name"
    if fault["type"] == "finite_number":
        allowed = f"finite and {allowed}" if allowed else "finite"
    kind, _, problem = fault["type"].partition("_")
    if problem in ("type", "parsing", "from_float") and kind in _TYPES:
        wanted_type = _TYPES[kind]
        allowed = f"{wanted_type}, {allowed}" if allowed else wanted_type
    rule = f"must be {allowed}" if allowed else fault["msg"]
    return f"{key} {rule}; got {fault['input']!r}. Set {key}=… on the command line or in conf/"
