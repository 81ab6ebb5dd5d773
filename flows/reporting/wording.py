"""What players, targets and audit examples are called on the page: pictures, unless the game has other words.

Templates and sentences are written for pictures. A game's `words` (kept in campaign.json) replace them in what the
project wrote itself, never in names and texts of the user's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from flows.store.meta import CampaignMeta

# The longest phrase first; each also with a capital, and with an s behind it.
PHRASES = ("training picture", "training example", "test picture", "audit picture", "picture")
_NOT_PROSE = re.compile(r"(?s)(\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}|<[^>]*>)")
_QUOTED = re.compile(r'"[^"]*"')


class Wording:
    """Replaces the words for pictures by those of a game.

    Parameters
    ----------
    words
        Phrase of `PHRASES` to the game's own; phrases that are missing stay.
    """

    def __init__(self, words: Mapping[str, str] | None = None) -> None:
        self.words = {phrase: str(word) for phrase, word in (words or {}).items() if phrase in PHRASES}

    @classmethod
    def of(cls, meta: CampaignMeta) -> Wording:
        """Return the wording of a campaign."""
        found = meta.get("words")
        return cls(found if isinstance(found, Mapping) else None)

    def __call__(self, text: str) -> str:
        """Replace the phrases in a text of the project's own."""
        for phrase in PHRASES:
            word = self.words.get(phrase)
            if word is not None:
                found = phrase.replace(" ", r"\s+")
                article = "an" if word[0] in "aeiou" else "a"
                text = re.sub(rf"\ban?(\s+){found}\b", rf"{article}\1{word}", text)
                text = re.sub(rf"\bAn?(\s+){found}\b", rf"{article.capitalize()}\1{word}", text)
                text = re.sub(rf"\b{found}(s?)\b", rf"{word}\1", text)
                text = re.sub(rf"\b{found.capitalize()}(s?)\b", rf"{word[0].upper()}{word[1:]}\1", text)
        return text

    def template(self, source: str) -> str:
        """Replace the phrases in the prose of a template: between its tags, and in quoted words of its expressions."""
        if not self.words:
            return source
        parts = _NOT_PROSE.split(source)
        parts[::2] = [self(part) for part in parts[::2]]
        parts[1::2] = [self._expression(part) for part in parts[1::2]]
        return "".join(parts)

    def _expression(self, part: str) -> str:
        if not part.startswith("{{"):
            return part
        return _QUOTED.sub(lambda found: self(found[0]), part)

    def script(self, source: str) -> str:
        """Replace the phrases of more than one word in a script's quoted texts."""
        return _QUOTED.sub(lambda found: self(found[0]) if " pictures" in found[0] else found[0], source)
