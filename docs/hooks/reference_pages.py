"""The reference: Markdown made from the configuration's schema, the tables' schemas, the commands and the packages."""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import tokenize
from collections.abc import Iterator
from typing import Any

PACKAGES = {
    "attribution": ("attribution", "Masks and outputs in, interactions out. NumPy, SciPy and scikit-learn only."),
    "training": ("training", "Data sets, masks, and many small networks trained together. NumPy and torch only."),
    "ablation": ("ablation", "One fixed model, many masks of it: image regions and components of any torch module."),
    "store": ("flows.store", "A campaign's folder, and the code that reads and writes it."),
}


def all_pages() -> dict[str, str]:
    """Return every generated reference page by its address."""
    found = {
        "reference/commands.md": commands_page(),
        "reference/configuration.md": configuration_page(),
        "reference/tables.md": tables_page(),
    }
    for name in PACKAGES:
        found[f"reference/{name}.md"] = package_page(name)
    return found


# --- commands ---------------------------------------------------------------------------------------------------------


def commands() -> dict[str, Any]:
    """Return the commands of `coterie` by name, as Click sees them."""
    import typer.main

    from flows.cli.commands import app

    return dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def commands_page() -> str:
    """Every command with its arguments and options."""
    lines = [
        "# Commands",
        "",
        "Generated from the command itself; `coterie COMMAND --help` prints the same.",
        "",
        "`CONFIG` is the name of a configuration, the path of a YAML file, or the folder of a campaign. "
        "`KEY=VALUE` sets any key of the [configuration](configuration.md).",
        "",
    ]
    from flows.cli.commands import EXIT_CODES

    for name, command in sorted(commands().items()):
        lines += [f"## coterie {name}", "", " ".join((command.help or "").split("\n\n")[0].split()), ""]
        for more in (command.help or "").split("\n\n")[1:]:
            lines += [" ".join(more.split()), ""]
        rows = [_parameter_row(parameter) for parameter in command.params if parameter.name != "help"]
        lines += ["| argument or option | default | meaning |", "|---|---|---|", *rows, ""]
    lines += ["## Exit codes", "", *[f"- {part.strip()}" for part in _one_line(EXIT_CODES)[12:].split("·")], ""]
    return "\n".join(lines)


def _parameter_row(parameter: Any) -> str:
    argument = not parameter.opts[0].startswith("-")
    name = (parameter.metavar or parameter.name.upper()) if argument else ", ".join(parameter.opts)
    default = parameter.default
    shown = "" if default is None or callable(default) or default is False or default == () else f"`{default}`"
    return f"| `{_cell(name)}` | {shown} | {_cell(getattr(parameter, 'help', '') or '')} |"


# --- configuration ----------------------------------------------------------------------------------------------------


def configuration_keys() -> Iterator[tuple[str, Any]]:
    """Yield every dotted key of a configuration with its pydantic field, sections left out."""
    from pydantic import BaseModel

    from conf.schema import CampaignConfig

    def walk(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, Any]]:
        for key, field in model.model_fields.items():
            inner = field.annotation
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from walk(inner, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}", field

    return walk(CampaignConfig, "")


def configuration_page() -> str:
    """Every key: type, default, bounds, meaning."""
    from conf.schema import CampaignConfig

    lines = [
        "# Configuration",
        "",
        "Generated from `conf/schema.py` and `conf/decisions.py`, which check every configuration. A key that is not "
        "listed is an error, and so is a value out of range.",
        "",
        "The default is the schema's. The configurations that ship (`quickstart`, `cifar2`, …) choose their own values "
        "in the files of `conf/`. [A configuration file of your own](../how-to/configuration-file.md) has the keys "
        "that may change while a campaign's folder stays.",
        "",
    ]
    section = ""
    for key, field in configuration_keys():
        here = key.rpartition(".")[0]
        if here != section or not lines[-1].startswith("|"):
            section = here
            model = CampaignConfig.model_fields[here].annotation if here else CampaignConfig
            lines += ["", f"## {here or 'name'}", "", _one_line(inspect.getdoc(model) or ""), ""]
            lines += ["| key | type | default | bounds | meaning |", "|---|---|---|---|---|"]
        lines.append(_key_row(key, field))
    return "\n".join([*lines, ""])


def _key_row(key: str, field: Any) -> str:
    default = "*required*" if field.is_required() else f"`{_plain(field.get_default(call_default_factory=True))}`"
    return (
        f"| `{key}` | {_cell(_type_words(field.annotation))} | {_cell(default)} | {_cell(_bounds(field))} "
        f"| {_cell(_one_line(field.description or ''))} |"
    )


def _plain(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value) if isinstance(value, tuple) else value)


def _type_words(annotation: Any) -> str:
    """A type as YAML users know it."""
    import types
    import typing

    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " / ".join(f"`{value}`" for value in inner)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type_words(part) for part in inner)
    if origin is tuple:
        return f"list of {_type_words(inner[0])}"
    if origin is dict:
        return f"mapping of {_type_words(inner[0])} to {_type_words(inner[1])}"
    if origin is typing.Annotated:
        return _type_words(inner[0])
    names = {"str": "text", "int": "whole number", "float": "number", "bool": "true / false", "NoneType": "null"}
    name = getattr(annotation, "__name__", str(annotation))
    return names.get(name, name)


def _bounds(field: Any) -> str:
    words = []
    for rule in field.metadata:
        for name, sign in (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"), ("min_length", "length ≥")):
            if getattr(rule, name, None) is not None:
                words.append(f"{sign} {getattr(rule, name):,}")
        if getattr(rule, "pattern", None):
            words.append(f"matches `{rule.pattern}`")
    return ", ".join(words)


# --- tables -----------------------------------------------------------------------------------------------------------


def tables() -> dict[str, tuple[str, list[tuple[str, str, str]]]]:
    """Return every table of flows/store/schemas.py: its description and its columns (name, type, meaning)."""
    import pyarrow as pa

    from flows.store import schemas

    source = inspect.getsource(schemas)
    comments = _comments(source)
    found = {}
    for node in ast.parse(source).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else node
        name = getattr(target, "id", getattr(target, "name", ""))
        value = getattr(schemas, name, None)
        if isinstance(node, ast.FunctionDef) and node.name.endswith("_schema"):
            value = value(**{parameter: 2 for parameter in inspect.signature(value).parameters})  # type: ignore[misc]
            about = _one_line(ast.get_docstring(node) or "")
            title = name.removesuffix("_schema")
        elif isinstance(value, pa.Schema):
            about = _comment_above(source, node.lineno)
            title = name.lower()
        else:
            continue
        said = {}
        for part in ast.walk(node):
            if isinstance(part, ast.Tuple) and part.elts and isinstance(part.elts[0], ast.Constant):
                said[part.elts[0].value] = comments.get(part.lineno, "")
        found[title] = (about, [(field.name, _arrow_type(field.type), said.get(field.name, "")) for field in value])
    return found


def tables_page() -> str:
    """Every table with its columns."""
    lines = [
        "# Tables",
        "",
        "Generated from `flows/store/schemas.py`. A campaign's folder holds these tables as Parquet; "
        "`Campaign.read(name)` returns one, and so do DuckDB, pandas and every other reader of Parquet. "
        "`examples/` has a script that reads them. Player and target numbers count from 0.",
        "",
    ]
    for name, (about, columns) in tables().items():
        lines += [f"## {name}", "", about, "", "| column | type | meaning |", "|---|---|---|"]
        lines += [f"| `{column}` | {kind} | {_cell(text)} |" for column, kind, text in columns]
        lines.append("")
    return "\n".join(lines)


def _arrow_type(kind: Any) -> str:
    import pyarrow as pa

    if pa.types.is_fixed_size_list(kind):
        return f"list of {kind.value_type}, fixed length"
    if pa.types.is_list(kind):
        return f"list of {kind.value_type}"
    if pa.types.is_fixed_size_binary(kind):
        return "bytes, fixed length"
    return str(kind)


def _comments(source: str) -> dict[int, str]:
    """Comments by the line of the code they stand behind, or right above."""
    found: dict[int, str] = {}
    above: list[str] = []
    for number, line in enumerate(source.splitlines(), start=1):
        if line.strip().startswith("#"):
            above.append(line.strip().lstrip("# "))
        else:
            found[number], above = " ".join(above), []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and token.line[: token.start[1]].strip():
            found[token.start[0]] = token.string.lstrip("# ")
    return found


def _comment_above(source: str, line: int) -> str:
    lines, found = source.splitlines(), []
    for text in reversed(lines[: line - 1]):
        if not text.startswith("#"):
            break
        found.append(text.lstrip("# "))
    return " ".join(reversed(found))


# --- packages ---------------------------------------------------------------------------------------------------------


def package_page(name: str) -> str:
    """Every public name of a package, for mkdocstrings to fill in: `__all__` is the list."""
    module_name, about = PACKAGES[name]
    module = importlib.import_module(module_name)
    lines = [f"# {module_name}", "", about, ""]
    if name == "attribution":
        estimators = importlib.import_module("attribution.estimators")
        lines += ["## Which estimator", "", inspect.getdoc(estimators) or "", ""]
    for public in sorted(public_names(module), key=_reading_order):
        lines += [f"::: {where(module, public)}", ""]
    return "\n".join(lines)


def public_names(module: Any) -> list[str]:
    """Return the names of `__all__`, without earlier names of what has another name now."""
    return [name for name in module.__all__ if where(module, name).rpartition(".")[2] == name]


def _reading_order(name: str) -> tuple[bool, bool, bool, str]:
    """Classes, then functions, then constants; errors last."""
    return name.endswith(("Error", "Warning")), name.isupper(), not name[0].isupper(), name.lower()


def where(module: Any, public: str) -> str:
    """Return the full path of a public name: of its definition where it has one, else of the package."""
    found = getattr(module, public)
    if inspect.isclass(found) or inspect.isfunction(found):
        return f"{found.__module__}.{found.__qualname__}"
    return f"{module.__name__}.{public}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;")
