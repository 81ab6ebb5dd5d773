"""Import of a bank: read it twice, check it, and write a campaign that analyses as any other."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from conf.compose import validate
from conf.schema import CampaignConfig, identity_settings
from flows.banks.arrays import paths_of
from flows.banks.assignment import Assignment, assign
from flows.banks.errors import BankError
from flows.banks.layouts import BankFiles, open_bank
from flows.banks.masks import BitOrder, recognise
from flows.banks.people import count_of, of_length, read_people
from flows.banks.scan import Scan, mask_rows, orient, read_repeats, scan
from flows.banks.writing import rows_per_fragment, write_masks, write_outputs
from flows.errors import CampaignMismatch
from flows.games.trainer.game import WORDS
from flows.games.user_rows import examples_of
from flows.storage.files import write_json
from flows.storage.object_store import ObjectPath, place
from flows.store.campaign import Campaign
from flows.store.configuration import keep_configuration
from flows.store.learnability import MARGINS
from training.masks import SAMPLERS

FILE = "bank.json"
OUTPUTS = (*MARGINS, "value")


@dataclass(frozen=True)
class Imported:
    """What an import did.

    Attributes
    ----------
    campaign : Campaign
    n_fit, n_holdout : int
        Rows to fit on, and masks held out.
    new : bool
        False where the folder held this bank already.
    notes : tuple of str
        What was recognised, assumed or left out, in sentences.
    """

    campaign: Campaign
    n_fit: int
    n_holdout: int
    new: bool
    notes: tuple[str, ...]


def import_bank(
    folder: str | Path,
    *,
    masks: str | Path | None = None,
    outputs: str | Path | None = None,
    alpha: float | None = None,
    layout: str | None = None,
    bank: str | Path | None = None,
    replicate_of: str | Path | None = None,
    players: str | Path | None = None,
    targets: str | Path | None = None,
    pictures: str | Path | None = None,
    n_players: int | None = None,
    holdout: int | None = None,
    mask_format: str = "auto",
    bit_order: BitOrder | None = None,
    inverted: bool = False,
    output: str = "margin_max",
    lower_is_better: bool = False,
    name: str | None = None,
    say: Callable[[str], None] = lambda sentence: None,
) -> Imported:
    """Make a campaign of masks and outputs that exist already.

    Parameters
    ----------
    folder
        The new campaign's folder. It appears whole or not at all.
    masks, outputs
        Files with one row a mask: npy, npz, Parquet, or lists of player numbers as JSON or text.
    alpha
        Probability with which the masks include a player.
    layout, bank
        A bank as another project writes it, and its folder; see `flows.banks.layouts`.
    replicate_of
        File with a row number for each row of the outputs: the row (mask) it repeats, -1 for none. Equal masks are
        found without it.
    players, targets
        Tables with their names, classes, texts and pictures. Targets flagged `audit` have no outputs in the bank: a
        trainer that is named later judges decisions on them.
    pictures
        Folder of pictures that are called like the rows of the two tables.
    n_players
        Number of players, for masks that do not say it (packed bits, lists).
    holdout
        Masks to hold out; a fifth, at most 256, when None.
    mask_format, bit_order, inverted
        How masks are written, where it is not recognised: see `flows.banks.masks.recognise`.
    output
        What an output is: `margin_max`, `margin_lse` (docs/METHOD.md), or `value` for any other number of which more is
        better. Decisions about players need margins.
    lower_is_better
        Whether outputs are losses or the like: minus the output is then stored and explained.
    name
        The campaign's name; the folder's when None.
    say
        Takes each sentence about the bank as it is known.

    Returns
    -------
    Imported

    Raises
    ------
    BankError
        For files that cannot be used; nothing is written then.
    CampaignMismatch
        For a folder that holds something else.
    """
    if output not in OUTPUTS:
        raise BankError(f"unknown kind of output {output!r}; known are {', '.join(OUTPUTS)}")
    files = open_bank(bank, layout=layout, masks=masks, outputs=outputs)
    if lower_is_better:
        files = replace(files, sign=-1, notes=(*files.notes, "lower outputs are better: minus the output is stored"))
    given_players, given_targets = read_people("players", players, pictures), read_people("targets", targets, pictures)
    of_table = count_of("players", given_players)
    if n_players is not None and of_table is not None and n_players != of_table:
        raise BankError(f"--n-players is {n_players} and {players} has {of_table} players. Leave --n-players out")
    if pictures is not None and not any(
        picture for rows in (given_players, given_targets) if rows for picture in rows.pictures
    ):
        raise BankError(f"--pictures: {pictures} holds no picture called like a row of --players or --targets")
    known = n_players if n_players is not None else of_table
    repeats = None if replicate_of is None else read_repeats(str(replicate_of))
    before = _stamps(files)
    files, notes = orient(files, known, count_of("targets", given_targets), None if repeats is None else len(repeats))
    reader = recognise(
        files.masks, known, encoding=mask_format, bit_order=bit_order, inverted=inverted != files.inverted,
        block_rows=mask_rows(8 * max(1, files.masks.shape[1])),
    )  # fmt: skip
    for sentence in (*notes, *files.notes, *reader.notes):
        say(sentence)
    of_players = of_length("players", given_players, reader.n_players)
    of_targets = of_length("targets", given_targets, files.outputs.shape[1])
    found = scan(files, reader, alpha, repeats)
    assert alpha is not None  # scan refuses a missing one
    plan = assign(found, holdout)
    said = [*found.notes, plan.rule, plan.ceiling]
    for sentence in said:
        say(sentence)
    notes = [*notes, *files.notes, *reader.notes, *said]
    if _stamps(files) != before:
        raise BankError("the bank's files changed while they were read. Import again when nothing writes to them")
    config = _configuration(folder, name, alpha, found, plan, files.outputs.shape[1])
    identity = {
        **identity_settings(config),
        "game.kind": "recorded",
        "bank.digest": found.digest,
        "bank.n_holdout": plan.n_holdout,
        "bank.output": output,
    }
    table, class_names = examples_of(of_players, of_targets)
    facts = {
        "name": config.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "n_players": reader.n_players,
        "n_train": len(of_players),
        "n_targets": files.outputs.shape[1],
        "n_audit": int(of_targets.audit.sum()),
        "class_names": list(class_names),
        "player_names": list(of_players.player_names),
        "alpha": alpha,
        "sampler": config.sampler.kind,
        "output": output,
        "shard_size": config.campaign.shard_size,
        "margins": output in MARGINS and len(class_names) > 1,
        **({} if any(pic is not None for pic in (*of_players.pictures, *of_targets.pictures)) else {"words": WORDS}),
    }
    about = {
        "layout": layout,
        "files": [{"path": path, "bytes": size} for path, (size, _) in before.items()],
        "digest": found.digest,
        "rule": plan.rule,
        "notes": notes,
    }

    def write(campaign: Campaign) -> None:
        campaign.write_examples(table)
        campaign.create(identity, facts)
        keep_configuration(campaign, config)
        write_json(campaign.folder / FILE, about)
        write_masks(campaign, files, reader, found, plan)
        write_outputs(campaign, files, found, plan)

    new = _in_place(place(folder), identity, write)
    return Imported(Campaign(folder), len(plan.fit), plan.n_holdout, new, tuple(notes))


def _configuration(
    folder: str | Path, name: str | None, alpha: float, found: Scan, plan: Assignment, n_targets: int
) -> CampaignConfig:
    sizes = found.n_included[found.finished]
    kind = "fixed_size" if len(sizes) > 1 and (sizes == sizes[0]).all() else "bernoulli"
    assert kind in SAMPLERS
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", str(folder).rstrip("/").rpartition("/")[2]).lstrip("._-")
    return validate(
        {
            "name": name or stem or "bank",
            "game": {"kind": "recorded"},
            "sampler": {"kind": kind, "alpha": alpha},
            "campaign": {
                "folder": str(folder),
                "n_fit": len(plan.fit),
                "n_holdout": plan.n_holdout,
                "n_replicates": 0,
                "shard_size": min(100_000, rows_per_fragment(4 * n_targets)),
            },
        }
    )


def _in_place(folder: Path, identity: dict[str, Any], write: Callable[[Campaign], None]) -> bool:
    """Write a campaign beside its place and rename it there when it is whole; False where it is there already."""
    there = Campaign(str(folder))
    if there.exists:
        there.check_identity(identity)
        return False
    if isinstance(folder, ObjectPath):  # nothing can be renamed there; an unfinished import is written again
        with there.lock():
            write(there)
        return True
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CampaignMismatch(f"{folder} holds other files and no campaign. Import into an empty or a new folder")
    unfinished = Campaign(folder.with_name(f".{folder.name}.importing"))
    with unfinished.lock():  # another import of the same bank is refused
        for path in unfinished.folder.iterdir():  # what an import left that was killed
            if path.name == ".lock":
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        try:
            write(unfinished)
        except BaseException:
            shutil.rmtree(unfinished.folder, ignore_errors=True)
            raise
        if folder.exists():
            folder.rmdir()
        os.replace(unfinished.folder, folder)
    return True


def _stamps(files: BankFiles) -> dict[str, tuple[int, int]]:
    """Size and time of every file of the bank."""
    found = {}
    for rows in (files.masks, files.outputs):
        for path in paths_of(rows):
            stat = path.stat()
            found[str(path)] = (stat.st_size, stat.st_mtime_ns)
    return found
