"""What `coterie plan --estimate` and `coterie plan --precheck` print."""

from __future__ import annotations

import json
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from conf.schema import CampaignConfig
from flows.cli.as_json import plain
from flows.forecast.cost import Estimate, TimeForecast, estimate
from flows.forecast.disk_space import as_bytes
from flows.forecast.groups import GroupAdvice, advice_lines, advise
from flows.games.table import work_of
from flows.runtime.logs import log_to_stderr
from flows.runtime.progress import clock
from flows.runtime.wording import plural

BUSY = 0.5  # programs a core, beyond which the wall time is said to be that of a quiet machine


def print_estimate(config: CampaignConfig, as_json: bool, core_hours: float | None = None) -> None:
    """Estimate and print; JSON for programs.

    Parameters
    ----------
    config : CampaignConfig
    as_json : bool
        Print one JSON document in place of tables.
    core_hours : float, optional
        Recommend groups and masks for this budget.

    Raises
    ------
    AttributionError
        For a budget that pays for too few models.
    """
    found = estimate(config)
    advice = None if core_hours is None or found.time is None else _advice(config, found, core_hours)
    if as_json:
        print(json.dumps({**found.as_json(), **({} if advice is None else {"groups": asdict(advice)})}, indent=2))
        return
    console, work = Console(highlight=False, soft_wrap=True), work_of(config)
    console.print(
        f"[bold]{found.name}[/bold] in {found.folder}: {plural(found.n_players, 'player')}, "
        f"{plural(found.n_targets, 'target')}, "
        f"{plural(found.n_models, work.noun)}, {found.n_missing:,} of them to {work.do}"
    )
    table = Table(show_header=False, box=None, pad_edge=False)
    said = [] if advice is None else advice_lines(advice, found.n_train)
    for name, value in [*lines(found), *said]:
        table.add_row(name, value)
    console.print(table)
    console.print(faithfulness_table(found))


def print_precheck(config: CampaignConfig, as_json: bool) -> None:
    """Evaluate a handful of masks and print whether outputs respond to the data.

    Parameters
    ----------
    config : CampaignConfig
    as_json : bool
        Print one JSON document in place of sentences.
    """
    from flows.compute.session import session_of
    from flows.forecast.precheck import precheck
    from flows.runtime.environment import prepare

    log_to_stderr()
    prepare()
    with session_of(config) as cluster:
        found = precheck(config, cluster)
    if as_json:
        print(json.dumps(plain(found.as_json()), indent=2, ensure_ascii=False))
        return
    for sentence in found.sentences():
        print(sentence)


def _advice(config: CampaignConfig, found: Estimate, core_hours: float) -> GroupAdvice:
    assert found.time is not None  # the caller's own check
    core_seconds = found.time.seconds_per_model * found.time.threads
    return advise(config, core_seconds, found.n_train, found.n_classes, core_hours)


def lines(found: Estimate) -> list[tuple[str, str]]:
    """List names and values of what is not a curve.

    Parameters
    ----------
    found : Estimate

    Returns
    -------
    list of (str, str)
        Name and value of each line.
    """
    lines = time_lines(found.time) if found.time else [("time", f"unknown here: {found.time_unknown}")]
    parts = ", ".join(f"{name} {as_bytes(size)}" for name, size in found.disk.by_table.items())
    return [
        *lines,
        ("disk", f"{as_bytes(found.disk.total)} ({parts}); {as_bytes(found.disk.per_model)} for every model more"),
        ("can be seen", f"a pair interaction of {found.smallest_detectable:.2f} standard deviations of an output"),
    ]


def time_lines(time: TimeForecast) -> list[tuple[str, str]]:
    """List the time, and what it was taken from.

    Parameters
    ----------
    time : TimeForecast

    Returns
    -------
    list of (str, str)
        Name and value of each line.
    """
    how = f"{time.mode}, {time.ensemble_size} at a time, {time.threads} thread{'s' * (time.threads > 1)}"
    total = time.training_seconds + time.other_seconds
    hours = f"{time.core_hours:.2g} core-hours" + (f", {time.gpu_hours:.2g} GPU-hours" if time.gpu_hours else "")
    lines = [
        ("one model", f"{time.seconds_per_model:.3g} s of a worker ({how}, on {time.device_name}; calibrated)"),
        ("rate", f"{time.models_per_second:.3g} models/s with {plural(time.workers, 'worker')}"),
        (
            "wall time",
            f"{clock(total)}: training {clock(time.training_seconds)}, start, attribution and report "
            f"{clock(time.other_seconds)}; {hours}",
        ),
    ]
    if time.load > BUSY * time.workers:
        at_load = clock(time.training_seconds_at_load)
        lines.append(("", f"on cores of its own; beside the {time.load:.1f} programs at work now: training {at_load}"))
    if time.seconds_per_model_so_far is not None:
        lines.append(("so far", f"{time.seconds_per_model_so_far:.3g} s a model by the clock, in this campaign"))
    return lines


def faithfulness_table(found: Estimate) -> Table:
    """Build the table of expected R² by number of fit masks.

    Parameters
    ----------
    found : Estimate

    Returns
    -------
    rich.table.Table
    """
    forecast = found.faithfulness
    origin = (
        "[bold]prior[/bold], not from this campaign: what as many masks a player gave in "
        f"{forecast.source} (lowest to highest)"
        if forecast.is_prior
        else f"learning curve through {forecast.n_masks_used:,} masks of this campaign, with 95% interval"
    )
    table = Table("fit masks", "datamodel", "spectrum", title=f"expected held-out R², mean over targets: {origin}")
    table.title_justify = "left"
    for row in forecast.rows:
        table.add_row(f"{row['n_fit']:,}", _value(row["datamodel"]), _value(row["spectrum"]))
    return table


def _value(forecast: tuple[float, float, float] | None) -> str:
    return "" if forecast is None else "{:.3f} [{:.3f}, {:.3f}]".format(*forecast).replace("[", "\\[")
