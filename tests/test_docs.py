"""The documentation covers what exists, and its links lead somewhere. `make docs` builds it without warnings."""

from __future__ import annotations

import doctest
import importlib
import re
import sys
from pathlib import Path

import pytest
import yaml

from conf.compose import known_keys
from tests.flows.toy import ROOT

sys.path.insert(0, str(ROOT / "docs" / "hooks"))
import pages  # noqa: E402  hooks are files beside the documentation, outside any package
import reference_pages  # noqa: E402


def navigation(entries: object) -> list[str]:
    """Every page that mkdocs.yml names."""
    if isinstance(entries, str):
        return [entries]
    inner = entries.values() if isinstance(entries, dict) else entries
    return [page for entry in inner for page in navigation(entry)]  # type: ignore[attr-defined]


def mkdocs_navigation() -> list[str]:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    return navigation(yaml.safe_load(text)["nav"])


def test_every_command_is_documented_with_its_options() -> None:
    page = reference_pages.commands_page()
    commands = reference_pages.commands()
    assert commands
    for name, command in commands.items():
        assert f"## coterie {name}" in page
        for option in command.params:
            assert option.opts[0] in page or (option.metavar or "") in page


def test_every_configuration_key_is_in_the_reference() -> None:
    page = reference_pages.configuration_page()
    missing = [key for key in known_keys() if f"| `{key}` |" not in page]
    assert missing == []
    assert [key for key, field in reference_pages.configuration_keys() if not field.description] == []


def test_every_stored_table_is_in_the_reference_with_all_its_columns() -> None:
    import pyarrow as pa

    from flows.store import schemas

    tables = reference_pages.tables()
    for name, value in vars(schemas).items():
        if isinstance(value, pa.Schema):
            assert [column for column, *_ in tables[name.lower()][1]] == value.names
    assert {"masks", "outputs"} <= set(tables)


def test_every_column_of_every_table_has_a_meaning() -> None:
    tables = reference_pages.tables().items()
    missing = [f"{name}.{column}" for name, (_, columns) in tables for column, _, meaning in columns if not meaning]
    assert missing == []


@pytest.mark.parametrize("name", reference_pages.PACKAGES)
def test_every_public_name_of_a_package_is_in_the_reference(name: str) -> None:
    module = importlib.import_module(reference_pages.PACKAGES[name][0])
    page = reference_pages.package_page(name)
    documented = set(re.findall(r"^::: (\S+)$", page, flags=re.MULTILINE))
    assert documented == {reference_pages.where(module, public) for public in module.__all__}
    assert page.count(":::") == len(documented)


def test_the_navigation_names_every_page_and_no_other() -> None:
    written = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert set(mkdocs_navigation()) == written | set(pages.pages())


@pytest.mark.parametrize(
    ("text", "address", "expected"),
    [
        ("[a](../benchmarks/decisions.md#x)", "METHOD.md", "[a](benchmarks/decisions.md#x)"),
        ("[a](../../benchmarks/decisions.md)", "concepts/kinds.md", "[a](../benchmarks/decisions.md)"),
        ("[a](../docs/SCALE.md)", "benchmarks/README.md", "[a](../SCALE.md)"),
        ("[a](evidence.md)", "concepts/kinds.md", "[a](../concepts/evidence.md)"),
        ("![p](docs/report.png)", "CONTRIBUTING.md", "![p](report.png)"),
        ("[sources](../training/data)", "architecture.md", "sources"),
        ("[web](https://arxiv.org)", "METHOD.md", "[web](https://arxiv.org)"),
        ("[gone](nowhere.md)", "METHOD.md", "[gone](nowhere.md)"),
    ],
)
def test_links_of_the_repository_become_links_of_the_site(text: str, address: str, expected: str) -> None:
    assert pages.site_links(text, address) == expected


def repository_pages() -> list[Path]:
    found = [*ROOT.glob("*.md"), ROOT / "tests" / "README.md"]
    found += [path for folder in ("docs", "benchmarks") for path in (ROOT / folder).rglob("*.md")]
    assert len(found) > 30
    return sorted(found)


@pytest.mark.parametrize("path", repository_pages(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere_in_the_repository_too(path: Path) -> None:
    generated = {(ROOT / "docs" / name).resolve() for name in pages.pages()}
    links = [found["link"] for found in pages.LINK.finditer(path.read_text(encoding="utf-8"))]
    local = [link for link in links if link and "://" not in link and not link.startswith("mailto:")]
    places = {link: (path.parent / link).resolve() for link in local}
    broken = [link for link, place in places.items() if not place.exists() and place not in generated]
    assert broken == []


def test_the_library_example_of_the_readme_prints_what_it_shows() -> None:
    outcome = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert outcome.attempted > 0 and outcome.failed == 0


@pytest.mark.parametrize("package", ["attribution", "flows", "training"])
def test_the_architecture_page_names_every_folder(package: str) -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = page.partition(f"**{package}/**")[2].partition("**")[0]
    folders = [path.name for path in (ROOT / package).iterdir() if any(path.glob("*.py"))]
    assert [name for name in folders if f"`{name}/`" not in section] == []
