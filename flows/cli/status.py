"""What `coterie status` and `coterie show` print."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from attribution.analysis.target_ids import class_of_mean, is_single
from conf.schema import CampaignConfig
from flows.cli.configuration import locate
from flows.cli.stage_states import survey
from flows.errors import IncompleteCampaign
from flows.refinement.links import family_lines
from flows.reporting.prefect_artifacts import strongest
from flows.reporting.text import proposers_in_words, together
from flows.runtime.wording import plural, work_on
from flows.store.campaign import Campaign
from flows.store.derived import verdicts
from flows.store.examples import example_texts, player_names, target_names
from flows.store.faithfulness import read_faithfulness
from flows.store.queries import alike, experiment_of, failure_reasons, kind_of, outcome_counts, throughput
from flows.store.roles import RowRange, count_rows, missing_shards
from flows.store.wanted import wanted

TEXT_SHOWN = 100  # characters of a row's text

def print_status(where: str, overrides: list[str]) -> None:
    """Print rows that exist, are missing or failed; then what each stage has left to do.

    Parameters
    ----------
    where : str
        A campaign's folder, or the configuration that names it.
    overrides : list of str
        Settings to change, written key=value.
    """
    campaign, config = locate(where, overrides)
    console = _console()
    if not campaign.exists:
        console.print(f"No campaign in {campaign.folder} yet. `coterie run {where}` makes it.")
        return
    meta = campaign.meta
    console.print(
        f"[bold]{meta.name}[/bold] in {campaign.folder}: {plural(meta.n_players, 'player')}, "
        f"{plural(meta.n_targets, 'target')}, "
        f"alpha {meta.alpha}, created {meta.created}, identity {meta.identity_hash[:12]}"
    )
    for line in family_lines(campaign):
        console.print(line, highlight=False)
    _print_rows(console, campaign, config)
    _print_hosts(console, campaign)
    _print_failures(console, campaign)
    if config is not None:
        for state in survey(config):
            console.print(f"{state.stage:<10}{'to do: ' if state.todo else ''}{state.why}", highlight=False)
    elif campaign.analysis is not None:
        found = campaign.analysis
        verdict = f"{found['n_open']} of {plural(found['n_explained'], 'target')} with interactions"
        console.print(f"analysis of {found['created']}: {verdict}", highlight=False)
    if (campaign.folder / "report.html").is_file():
        console.print(f"report    {campaign.folder / 'report.html'}", highlight=False)


def _print_rows(console: Console, campaign: Campaign, config: CampaignConfig | None) -> None:
    should_exist = wanted(config) if config is not None else campaign.planned()
    counts = outcome_counts(campaign)
    table = Table(f"{work_on(campaign.meta.is_fixed_model).noun}s", "wanted", "ok", "diverged", "failed", "missing")
    for rows in _by_kind(should_exist, experiment_of(campaign)).items():
        name, ranges = rows
        found = counts.get(name, {})
        missing = count_rows(missing_shards(ranges, campaign.with_outcome(), campaign.shard_size))
        numbers = (sum(map(len, ranges)), found.get("ok", 0), found.get("diverged", 0), found.get("failed", 0), missing)
        table.add_row(name, *(f"{number:,}" for number in numbers))
    console.print(table)


def _by_kind(ranges: list[RowRange], experiment: Callable[[RowRange], str]) -> dict[str, list[RowRange]]:
    """Ranges by kind of row."""
    kinds: dict[str, list[RowRange]] = {}
    for rows in ranges:
        kinds.setdefault(kind_of(rows, experiment), []).append(rows)
    return kinds


def _print_hosts(console: Console, campaign: Campaign) -> None:
    hosts = throughput(campaign)
    if not hosts:
        return
    one = work_on(campaign.meta.is_fixed_model).noun
    table = Table("host", "device", f"{one}s", f"s/{one}", f"{one}s/s and slot")
    for host in hosts:
        rate = 1 / host.seconds_per_model if host.seconds_per_model else float("nan")
        table.add_row(host.host, host.device, f"{host.n_models:,}", f"{host.seconds_per_model:.3f}", f"{rate:.2f}")
    console.print(table)


def _print_failures(console: Console, campaign: Campaign) -> None:
    found, one = failure_reasons(campaign), work_on(campaign.meta.is_fixed_model).noun
    for status in dict.fromkeys(status for status, _ in found):
        counts = {reason or "no reason recorded": count for (of, reason), count in found.items() if of == status}
        for reason, count in alike(counts).most_common(5):
            first = ", the first" if count > counts[reason] else ""
            console.print(f"{plural(count, one)} {status}{first}: {reason}", highlight=False, markup=False)


def print_interactions(where: str, overrides: list[str], target: int | None, top: int) -> None:
    """Print the strongest interactions of a target, or of all.

    Parameters
    ----------
    where : str
        A campaign's folder, or the configuration that names it.
    overrides : list of str
        Settings to change, written key=value.
    target : int or None
        Id of the target; None for all targets.
    top : int
        Interactions to print at most.

    Raises
    ------
    IncompleteCampaign
        For a target that was not explained.
    """
    campaign, _ = locate(where, overrides)
    faithfulness = read_faithfulness(campaign)
    if target is not None and target not in faithfulness:
        explained = sorted(faithfulness)
        single = [number for number in explained if is_single(number)]
        means = [f"{number} ({_mean_of(campaign, number)})" for number in reversed(explained) if not is_single(number)]
        raise IncompleteCampaign(
            f"target {target} was not explained. Explained: {', '.join(map(str, single[:20]))}"
            f"{', …' if len(single) > 20 else ''}{'; ' if single and means else ''}{', '.join(means)}. Raise "
            "attribution.n_targets to explain more"
        )
    console = _console()
    if target is not None:
        held = faithfulness[target]
        ceiling = held.noise_ceiling
        name = f"target {target}" if is_single(target) else f"target {target}, {_mean_of(campaign, target)}"
        scores = ", ".join(f"{name} {_number(held.r2(name).value)}" for name in held.estimators)
        console.print(
            f"{name}: {held.verdict} (gate q {_number(held.gate_q)}); held-out R²: {scores}; noise ceiling "
            f"{_number(ceiling.value)} [{_number(ceiling.low)}, {_number(ceiling.high)}]",
            highlight=False,
        )
    rows = strongest(campaign, target)[:top]
    if not rows:
        console.print("No interaction was reported here.")
        return
    if target is None:
        _print_sets(console, campaign, min(top, 10))
    tried = verdicts(campaign)
    numbers = ("together", "joint surplus", "I(S)", "saturation", "std. error", "q of the rest", "gate")
    titles = ("target", "members", "kind", *numbers, "proposed by", *(["by experiment"] if tried else []))
    table = Table(*titles)
    for row in rows:
        trial = tried.get((row["target"], tuple(row["members"])))
        by_experiment = f"{trial['verdict']} ({trial['measured']:+.2f})" if trial else "–"
        words = together(row["kind"], row["specific_surplus"], row["main_effects"])
        table.add_row(
            str(row["target"]),
            ", ".join(map(str, row["members"])),
            row["kind"],
            words.removeprefix("together they ").removesuffix(" than the sum of their own effects"),
            f"{row['joint_surplus']:+.2f}",
            f"{row['value']:+.2f}",
            f"{row['saturation']:+.2f}",
            f"{row['stderr']:.2f}",
            f"{row['specific_q_value']:.1e}",
            "open" if row["gate_open"] else "closed",
            proposers_in_words(row["proposed_by"], row["also_proposed_by"]),
            *([by_experiment] if tried else []),
        )
    console.print(table)
    _print_names(console, campaign, rows)


def _print_names(console: Console, campaign: Campaign, rows: list[dict[str, Any]]) -> None:
    """What the data set's owner calls the players and targets of these rows."""
    players, targets = player_names(campaign), target_names(campaign)
    texts = example_texts(campaign)
    for title, split, names, shown in (
        ("players", "train", players, {player for row in rows for player in row["members"]}),
        ("targets", "target", targets, {row["target"] for row in rows if row["target"] >= 0}),
    ):
        if any((split, at) in texts for at in shown):  # a line each: a name and what is known of the row
            console.print(f"{title}:", highlight=False, markup=False)
            for at in sorted(shown):
                text = texts.get((split, at), "")
                line = f"  {at} {names[at]}" + (f": {text[:TEXT_SHOWN]}" if text else "")
                console.print(line, highlight=False, markup=False)
        elif shown:
            named = ", ".join(f"{at} {names[at]}" for at in sorted(shown))
            console.print(f"{title}: {named}", highlight=False, markup=False)
    means = sorted({row["target"] for row in rows if not is_single(row["target"])}, reverse=True)
    if means:
        said = ", ".join(f"{number} {_mean_of(campaign, number)}" for number in means)
        console.print(f"means over targets: {said}", highlight=False, markup=False)


def _mean_of(campaign: Campaign, target: int) -> str:
    """What a negative target number is the mean of."""
    label = class_of_mean(target)
    return "the mean of all targets" if label is None else f"the mean of class “{campaign.meta.class_names[label]}”"


def _print_sets(console: Console, campaign: Campaign, top: int) -> None:
    """The strongest sets over all targets together, where the analysis tested them."""
    rows = campaign.read("sets").slice(0, top).to_pylist()
    if not rows:
        return
    titles = ("members", "kind", "over all targets", "q", "targets alone", "strongest on", "proposed by")
    table = Table(*titles, title="All targets together")
    for row in rows:
        table.add_row(
            ", ".join(map(str, row["members"])),
            row["kind"],
            f"{row['statistic']:+.1f}",
            f"{row['specific_q_value']:.1e}",
            f"{row['n_targets']} of {row['n_tested']}",
            f"{row['strongest_target']} (z {row['largest_z']:+.1f})",
            ", ".join(row["proposed_by"]),
        )
    console.print(table)


def _console() -> Console:
    """Standard output; into a pipe or file, wide enough that no column is cut."""
    console = Console()
    return console if console.is_terminal else Console(width=180)


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.001 else f"{value:.0e}"
