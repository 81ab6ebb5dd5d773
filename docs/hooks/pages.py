"""Pages that MkDocs does not find in docs/: generated references, and Markdown files from elsewhere in the repository.

MkDocs calls the functions named `on_…`. Each generated page comes from the code that a reader would otherwise have to
trust it to match: the configuration's schema, the tables' schemas, the commands and the public names of the packages.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]  # mkdocs loads a hook by its path, outside any package

import reference_pages  # noqa: E402

FROM_ROOT = ("CONTRIBUTING.md", "CHANGELOG.md")
BENCHMARKS = "benchmarks"
LINK = re.compile(
    r"(?P<image>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<link>[^)#\s]*)(?P<anchor>#[^)\s]*)?\)"
)


def pages() -> dict[str, str]:
    """Return the text of every page that has no file in docs/, by its address in the site."""
    found = {"examples.md": examples_page(), **reference_pages.all_pages()}
    for name in FROM_ROOT:
        found[name] = (ROOT / name).read_text(encoding="utf-8")
    for path in sorted((ROOT / BENCHMARKS).rglob("*.md")):
        found[path.relative_to(ROOT).as_posix()] = path.read_text(encoding="utf-8")
    return found


def examples_page() -> str:
    """Every script of examples/ with its first line as title."""
    lines = [
        "# Examples",
        "",
        "The scripts of `examples/`, as they are. Each has cells (`# %%`) for editors that know them, asserts what it "
        "shows, and is run by a test.",
        "",
    ]
    for path in sorted((ROOT / "examples").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        title = (ast.get_docstring(ast.parse(text)) or path.stem).splitlines()[0].rstrip(".")
        lines += [f"## {title}", "", f"`examples/{path.name}`", "", "```python", text.rstrip(), "```", ""]
    return "\n".join(lines)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages of `pages` to the site."""
    from mkdocs.structure.files import File

    for address, text in pages().items():
        files.append(File.generated(config, address, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links that are right in the repository into links that are right in the site."""
    return site_links(markdown, page.file.src_uri)


def site_links(markdown: str, address: str) -> str:
    """Rewrite relative links between docs/, benchmarks/ and the repository's root.

    Parameters
    ----------
    markdown : str
        A page's text, with links as a reader of the repository needs them.
    address : str
        The page's address in the site, e.g. `benchmarks/decisions.md`. In the site docs/ is the root.

    Returns
    -------
    str
        The text with links of the site. Links to files that are no pages become plain code.

    Examples
    --------
    >>> site_links("[scale](../docs/SCALE.md#time)", "benchmarks/README.md")
    '[scale](../SCALE.md#time)'
    >>> site_links("[conf/](conf)", "CONTRIBUTING.md")
    'conf/'
    """
    known = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*") if path.is_file()}
    known |= set(pages())
    outside = address in FROM_ROOT or address.startswith(BENCHMARKS)
    here = (ROOT if outside else ROOT / "docs") / Path(address).parent

    def rewrite(found: re.Match[str]) -> str:
        text, link, anchor = found["text"], found["link"], found["anchor"] or ""
        if not link or "://" in link or link.startswith("mailto:"):
            return found[0]
        there = (here / link).resolve()
        for base in (ROOT / "docs", ROOT):
            if there.is_relative_to(base) and there.relative_to(base).as_posix() in known:
                up = "../" * (len(Path(address).parts) - 1)
                return f"{found['image']}[{text}]({up}{there.relative_to(base).as_posix()}{anchor})"
        return text if there.exists() else found[0]  # a link to nothing stays, and fails the build

    return LINK.sub(rewrite, markdown)
