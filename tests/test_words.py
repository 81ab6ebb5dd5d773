"""Words that the prose of code, templates and pages does not use, because readers have a plainer one."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]

# What was retired, and the word in its place. Spelled in two parts, so that this file does not hold them.
RETIRED = {"to" + "ld": "reported", "an" + "ew": "recomputed", "n" + "il": "null", "men" + "ded": "fixed"}
FOLDERS = (
    "ablation", "attribution", "benchmarks", "conf", "coterie", "deploy", "docs", "examples", "flows", "tests",
    "training",
)  # fmt: skip
# History keeps the words of its day.
HISTORY = ("benchmarks/log/", "docs/negative-results/", "CHANGELOG.md")


def text_files() -> list[Path]:
    """Every source, template and page, without the history."""
    paths = [*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]
    return sorted(
        path
        for path in paths
        if path.suffix in {".py", ".j2", ".md"} and not str(path.relative_to(ROOT)).startswith(HISTORY)
    )


def retired_words(text: str) -> list[str]:
    """The retired words in a text; parts of a name such as `a_b` count as words."""
    return [found[0].lower() for found in re.finditer("[A-Za-z]+", text) if found[0].lower() in RETIRED]


def test_retired_words_are_found_in_sentences_and_in_names() -> None:
    for word in RETIRED:
        assert retired_words(f"It was {word.title()}: is_{word}_twice.") == [word, word]
    assert retired_words("tolerance, vanilla, recommended, Manewell") == []


def test_no_file_uses_a_retired_word() -> None:
    files = text_files()
    assert Path(__file__).with_name("test_imports.py") in files
    found = {
        f"{path.relative_to(ROOT)}:{number}": [f"{word} ({RETIRED[word]})" for word in words]
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (words := retired_words(line))
    }
    assert found == {}
