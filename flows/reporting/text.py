"""Numbers and sentences of the report. One way to write each quantity, so that a page reads evenly."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from flows.runtime.wording import plural as plural

DASH = "–"
KINDS = ("redundancy", "synergy", "boundary_synergy", "interference", "saturation", "uncertain")
KIND_NAMES = {
    "redundancy": ("redundancy", "redundancies"),
    "synergy": ("synergy", "synergies"),
    "boundary_synergy": ("boundary synergy", "boundary synergies"),
    "interference": ("interference", "interferences"),
    "saturation": ("saturation alone", "saturation alone"),
    "uncertain": ("of uncertain kind", "of uncertain kind"),
}
# Which column of a target's card a kind belongs to. Interference and uncertain sets are neither and say so.
SIDES = {"redundancy": "redundancy", "synergy": "synergy", "boundary_synergy": "synergy"}
CLASS_SPLITS = {"target_class": "all of the target’s class", "cross_class": "crosses classes"}
FDR_METHODS = {
    "by": "Benjamini–Yekutieli",
    "benjamini_yekutieli": "Benjamini–Yekutieli",
    "bh": "Benjamini–Hochberg",
    "benjamini_hochberg": "Benjamini–Hochberg",
}


def is_number(value: object) -> bool:
    """Whether there is a finite number to print."""
    return isinstance(value, int | float) and math.isfinite(value)


def fixed(value: float | None, digits: int = 2) -> str:
    """0.4231 -> '0.42'; a dash when there is no number. The minus sign is a real one."""
    if value is None or not is_number(value):
        return DASH
    rounded = f"{value:.{digits}f}"
    if float(rounded) == 0:
        rounded = rounded.lstrip("-")
    return rounded.replace("-", "−")


def signed(value: float | None, digits: int = 2) -> str:
    """Like `fixed`, with the sign always written; a value that rounds to zero has none."""
    text = fixed(value, digits)
    if value is None or text == DASH or text.startswith("−") or float(text) == 0:
        return text
    return "+" + text


def count(value: int | float | None) -> str:
    """12345 -> '12,345'."""
    return f"{int(value):,}" if value is not None and is_number(value) else DASH


def percent(value: float | None, digits: int = 1) -> str:
    """0.868 -> '86.8%'."""
    return fixed(100 * value, digits) + "%" if value is not None and is_number(value) else DASH


def probability(value: float | None, relation: bool = True) -> Markup:
    """A p- or q-value with its relation sign, '= 0.03', '= 4×10⁻⁹', '< 10⁻¹⁶', or without the '='."""
    equals = "= " if relation else ""
    if value is None or not is_number(value):
        return Markup(equals + DASH)
    if value < 1e-16:
        return Markup("&lt; 10<sup>−16</sup>")
    if value >= 0.001:
        return Markup(equals + fixed(value, 2 if value >= 0.095 else 3))
    mantissa, exponent = f"{value:.0e}".split("e")
    times = "" if mantissa == "1" else f"{mantissa}×"
    return Markup(f"{equals}{times}10<sup>−{abs(int(exponent))}</sup>")


def small_number(value: float | None) -> str:
    """A p- or q-value as plain text: '0.03', '4e-9', '<1e-16'; a dash when there is none."""
    if value is None or not is_number(value):
        return DASH
    return "<1e-16" if value < 1e-16 else fixed(value, 2 if value >= 0.095 else 3) if value >= 0.001 else f"{value:.0e}"


def seconds(value: float | None) -> str:
    """Durations: '3.7 ms', '0.18 s', '4.2 min', '3.1 h'."""
    if value is None or not is_number(value):
        return DASH
    if 0 < value < 0.01:
        return f"{1000 * value:.2g} ms"
    if value < 10:
        return f"{value:.2f} s"
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"


def listing(parts: list[str]) -> str:
    """['a', 'b', 'c'] -> 'a, b and c'."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1] if parts else ""


def finding(n_explained: int, n_open: int, kinds: Mapping[str, int], n_distinct: int) -> tuple[str, str]:
    """The report's headline and the sentence under it, from counts of the tables.

    n_explained: individual targets; n_open: those whose gate opened; kinds: interactions found on those, by
    kind; n_distinct: distinct member sets among them.
    """
    total = sum(kinds.values())
    if not n_explained:
        return (
            "No target has been explained yet",
            "The analysis holds no faithfulness rows for individual targets.",
        )
    if not n_open:
        explained = f"None of the {plural(n_explained, 'target')} explained"
        return f"{explained} shows interactions beyond main effects and saturation", (
            "On no target does the spectrum, with its interactions, predict demonstrably better than main "
            "effects and saturation. That is no proof that training examples act alone: an interaction weaker than "
            "the noise of retraining stays hidden, and more masks would show smaller ones."
        )
    verb = "shows" if n_open == 1 else "show"
    headline = (
        f"{n_open:,} of {plural(n_explained, 'target')} {verb} interactions beyond main effects and saturation"
    )
    if not total:
        return headline, (
            "There the spectrum predicts better than main effects and saturation, though no single set passes the "
            "false discovery rate: the evidence lies in many small interactions together."
        )
    named = [f"{kinds[k]:,} {KIND_NAMES[k][kinds[k] != 1]}" for k in KINDS if kinds.get(k)]
    start = f"{plural(total, 'interaction')} {'was' if total == 1 else 'were'} found on "
    start += (
        f"{'it' if n_open == 1 else 'them'}, in {plural(n_distinct, 'distinct set')} of training examples: "
    )
    leading = max(KINDS, key=lambda k: kinds.get(k, 0))
    meaning = {
        "redundancy": " Mostly, then, training examples repeat each other: together they count for less than the sum "
        "of their parts.",
        "synergy": " Mostly, then, training examples count for more together than apart.",
        "boundary_synergy": " Mostly, then, a training example that helps counts for more where one that "
        "hurts is present: the two draw the boundary together.",
    }
    closing = meaning.get(leading, "") if kinds.get(leading, 0) * 2 > total else ""
    return headline, start + listing(named) + "." + closing


def together(kind: str, surplus: float | None, main_effects: Sequence[float]) -> str:
    """What a set's members do together beyond the sum of their own effects, in words and without a sign.

    A redundancy of members that hurt has a surplus above zero: together they hurt less than the sum.

    Examples
    --------
    >>> together("redundancy", -0.75, [0.6, 0.4])
    'together they help 0.75 less than the sum of their own effects'
    >>> together("redundancy", 0.57, [-0.6, -0.4])
    'together they hurt 0.57 less than the sum of their own effects'
    """
    amount = fixed(None if surplus is None else abs(surplus))
    known = [effect for effect in main_effects if is_number(effect)]
    verb = "help" if sum(known) >= 0 else "hurt"
    if kind == "redundancy":
        return f"together they {verb} {amount} less than the sum of their own effects"
    if kind == "synergy":
        return f"together they {verb} {amount} more than the sum of their own effects"
    if kind == "boundary_synergy":
        return f"the one that helps counts {amount} more where the one that hurts is present"
    if kind == "interference":
        return f"the one that helps counts {amount} less where the one that hurts is present"
    if kind == "saturation":
        return "nothing specific to them: any two of such effects do the same together"
    return f"together they do {signed(surplus)} beyond their own effects, of which one has no certain sign"


def proposers_in_words(proposed_by: str, also: Sequence[str] | None) -> str:
    """Who proposed a set, and who else would have.

    Examples
    --------
    >>> proposers_in_words("heredity", ["proxy", "screen"])
    'heredity (also proxy, screen)'
    >>> proposers_in_words("proxy", [])
    'proxy'
    """
    return f"{proposed_by} (also {', '.join(also)})" if also else proposed_by


def saturation_sentence(n_pairs: int, share: float, on_one_target: bool) -> str:
    """How much of what looks redundant is saturation, as a sentence; nothing without such pairs.

    Examples
    --------
    >>> saturation_sentence(12, 0.63, True)
    'Most of what looks redundant here is saturation: the more examples help, the less each adds (63% of 12 pairs).'
    >>> saturation_sentence(1, 0.2, True)
    'Of what looks redundant here, 20% is saturation (1 pair).'
    """
    if not n_pairs:
        return ""
    where = "here" if on_one_target else "on these targets"
    amount, pairs = percent(share, 0), plural(n_pairs, "pair")
    if share > 0.5:
        more = "the more examples help, the less each adds"
        return f"Most of what looks redundant {where} is saturation: {more} ({amount} of {pairs})."
    return f"Of what looks redundant {where}, {amount} is saturation ({pairs})."


def beside_saturation(kind: str, saturation: float) -> str:
    """What saturation adds to a set's own interaction, as the end of a sentence; nothing where it rounds to zero.

    Examples
    --------
    >>> beside_saturation("redundancy", -0.31)
    ', beside −0.31 by saturation, which any two of such effects have'
    >>> beside_saturation("redundancy", 0.001)
    ''
    """
    text = signed(saturation)
    if kind == "saturation" or text == DASH or float(text.replace("−", "-")) == 0:
        return ""
    return f", beside {text} by saturation, which any two of such effects have"
