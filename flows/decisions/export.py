"""Decisions as files others can use: an index file, a filtered Parquet data set, a table for people, lists of names."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from attribution.experiments.learnability import Learnability
from flows.decisions.name_lists import is_list, list_files, write_lists
from flows.decisions.originals import Pictures, pictures_of, what_is_counted
from flows.errors import CoterieError
from flows.refinement.pictures import picture_decisions
from flows.storage.files import write_atomically, write_json
from flows.store.campaign import Campaign
from flows.store.derived import about, current_comparison
from flows.store.learnability import learnability_sentence, require_learnt

FORMATS = ("subset", "parquet", "csv", "lists")
PARQUET_NAME = "train-00000-of-00001.parquet"
# What a spreadsheet takes for a formula, and what the escape below could be mistaken for.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


OUTDATED = "The decision rests on an earlier analysis than the campaign's present one; `coterie curate` renews it."


FINER = (
    "What was verified is the decision about whole groups; {} pictures of opened groups are decided otherwise in these "
    "files, and that was not verified."
)


class BadExport(CoterieError):
    """A format that does not exist, or a place that holds other files."""

    exit_code = 2


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes
    ----------
    paths : tuple of Path
        Files written.
    n_kept : int
        Training examples that they keep.
    n_dropped : int
        Training examples that they leave out.
    notes : tuple of str
        What a reader should know.
    """

    paths: tuple[Path, ...]
    n_kept: int
    n_dropped: int
    notes: tuple[str, ...] = ()


def export(campaign: Campaign, folder: Path, formats: tuple[str, ...] = FORMATS) -> Exported:
    """Write the current decisions into a folder; players put up for review are kept and marked.

    Pictures of groups that `coterie refine` opened are decided one by one (`flows.refinement.pictures`).

    Parameters
    ----------
    campaign : Campaign
    folder : Path
    formats : tuple of {"subset", "parquet", "csv", "lists"}
        subset: subset.json, whose `indices` select the kept examples from the campaign's training set and whose
        `source_indices` select them from the data set it came from (torch.utils.data.Subset); `source_ids` are the
        numbers that the data set itself gives them (the column `index` of a Parquet file), where it does. parquet:
        data/train-*.parquet with the kept images, as the source has them, in the layout Hugging Face reads
        (`datasets.load_dataset(folder)`).
        csv: decisions.csv, a row a training example; text that a spreadsheet would run is escaped
        (`spreadsheet_cell`). lists: delete.txt, keep.txt and look.txt (what is kept and up for review), a name a
        line, for programs to read (`xargs -d '\\n' -a delete.txt rm --` in the pictures' folder). A name stands
        there byte for byte as the file system has it, backslashes and quotes included. Where a list holds a name
        with a line break, which no line can hold, it is named delete.nul (keep.nul, look.nul) instead, each name
        ended by a NUL (`xargs -0 -a delete.nul rm --`).

    Returns
    -------
    Exported

    Raises
    ------
    IncompleteCampaign
        Without decisions.
    BadExport
        For an unknown format, and where a file of somebody else's would be replaced or would be read along.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise BadExport(f"unknown format {', '.join(unknown) or 'none'}. Formats: {', '.join(FORMATS)}")
    if folder.exists() and not folder.is_dir():
        raise BadExport(f"{folder} is a file. Give a folder to export into")
    campaign.meta  # noqa: B018  raises where there is no campaign
    decided = picture_decisions(campaign)
    decisions = {row["position"]: row for row in decided.rows}
    learnt = _learnt(campaign)
    examples = [row for row in campaign.read("examples").to_pylist() if row["split"] == "train"]
    examples.sort(key=lambda row: row["position"])
    _refuse_strangers(folder, formats, {row["name"] for row in examples})
    kept = [row for row in examples if decisions[row["position"]]["decision"] != "drop"]
    origin = provenance(campaign)
    finer = sum(row["decision"] != row["group_decision"] for row in decided.rows)
    if finer and origin["verification"]:
        origin["verification"] = [*origin["verification"], FINER.format(finer)]
    paths: list[Path] = []
    notes = decided.notes if origin["analysis_is_current"] else (*decided.notes, OUTDATED)
    if "subset" in formats:
        paths.append(_write_subset(folder, kept, decisions, origin, what_is_counted(campaign)))
    if "parquet" in formats:
        pictures = pictures_of(campaign, kept)
        paths += _write_parquet(folder, campaign, kept, decisions, origin, pictures, learnt)
        notes += () if pictures.sentence is None else (pictures.sentence,)
    if "csv" in formats:
        paths.append(_write_csv(folder, examples, decisions, origin))
    if "lists" in formats:
        found = [decisions[row["position"]] for row in examples]
        worst_first = sorted(range(len(found)), key=lambda at: found[at].get("effect") or 0.0)
        decided_names = [(row["name"], made["decision"]) for row, made in zip(examples, found, strict=True)]
        lists, said = write_lists(folder, decided_names, worst_first)
        paths, notes = [*paths, *lists], (*notes, *said)
    return Exported(tuple(paths), len(kept), len(examples) - len(kept), notes)


def _learnt(campaign: Campaign) -> str:
    """The sentence about chance; what curate recorded where it was allowed to decide from models at chance."""
    decided = about(campaign, "decisions") or {}
    if not (decided.get("settings") or {}).get("allow_unlearnable"):
        return require_learnt(campaign)
    recorded = dict(decided.get("learnability") or {})
    if not recorded:
        return "Whether the models are above chance was not recorded."
    recorded.pop("learnt")
    return learnability_sentence(campaign, Learnability(**recorded))


def spreadsheet_cell(text: str) -> str:
    """Escape text that a spreadsheet would take for a formula.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        With an apostrophe in front where it begins with `=`, `+`, `-`, `@`, a tab or a carriage return (after any
        apostrophes of its own); as it is otherwise.

    Examples
    --------
    >>> spreadsheet_cell("=1+1.png"), spreadsheet_cell("cat.png")
    ("'=1+1.png", 'cat.png')
    """
    return f"'{text}" if _FORMULA.match(text) else text


def from_spreadsheet_cell(cell: str) -> str:
    """Undo `spreadsheet_cell`.

    Examples
    --------
    >>> from_spreadsheet_cell("'=1+1.png")
    '=1+1.png'
    """
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _refuse_strangers(folder: Path, formats: tuple[str, ...], names: set[str]) -> None:
    """Raise BadExport for a file that an export would replace, or `load_dataset` read along, and no export wrote."""
    data = [(path, _is_export) for path in (folder / "data").glob("train-*")]
    written: dict[str, list[tuple[Path, Callable[[Path], bool]]]] = {
        "subset": [(folder / "subset.json", _is_subset)],
        "parquet": [(folder / "README.md", _is_card), *data],
        "csv": [(folder / "decisions.csv", _is_csv)],
        "lists": [(path, partial(is_list, names=names)) for path in list_files(folder)],
    }
    for path, is_ours in [pair for name in formats for pair in written[name]]:
        if path.exists() and not is_ours(path):
            raise BadExport(f"{path} was not written by an export and is left as it is. Export into another folder")


def _is_subset(path: Path) -> bool:
    return _holds(path, '"provenance"')


def _is_card(path: Path) -> bool:
    return _holds(path, "training examples, kept by coterie.")


def _is_csv(path: Path) -> bool:
    return _holds(path, "campaign_identity,decisions_key")


def _is_export(path: Path) -> bool:
    try:
        return path.name == PARQUET_NAME and b"coterie.provenance" in (pq.read_schema(path).metadata or {})
    except (OSError, pa.ArrowException):
        return False


def _holds(path: Path, words: str) -> bool:
    try:
        return words in path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def provenance(campaign: Campaign) -> dict[str, Any]:
    """Collect what the decisions were made from, and what retraining measured of them, earlier decisions' left out.

    Parameters
    ----------
    campaign : Campaign

    Returns
    -------
    dict
    """
    decided = about(campaign, "decisions") or {}
    verified = current_comparison(campaign)
    return {
        "campaign": campaign.meta.name,
        "identity": campaign.meta.identity_hash,
        "decisions": decided.get("key"),
        "decided": decided.get("created"),
        "analysis": decided.get("analysis"),
        "settings": decided.get("settings"),
        "analysis_is_current": decided.get("analysis") == (campaign.analysis or {}).get("key"),
        "verification": verified.get("sentences"),
    }


def _write_subset(
    folder: Path,
    kept: list[dict[str, Any]],
    decisions: dict[int, dict[str, Any]],
    origin: dict[str, Any],
    counted: str,
) -> Path:
    path = folder / "subset.json"
    own_numbers = [row["source_id"] for row in kept]
    write_json(
        path,
        {
            "how": "torch.utils.data.Subset(dataset, indices): `indices` for the campaign's own training set, "
            "`source_indices` for the data set it was drawn from, where it counts the same; `names` always do. "
            "`source_ids`, where there are any, are the numbers in its own column index, which are no rows",
            "source_indices_count": counted,
            "indices": [row["position"] for row in kept],
            "source_indices": [row["source_index"] for row in kept],
            **({} if None in own_numbers else {"source_ids": own_numbers}),
            "names": [row["name"] for row in kept],
            "to_review": [row["position"] for row in kept if decisions[row["position"]]["decision"] == "review"],
            "provenance": origin,
        },
    )
    return path


def _write_parquet(
    folder: Path,
    campaign: Campaign,
    kept: list[dict[str, Any]],
    decisions: dict[int, dict[str, Any]],
    origin: dict[str, Any],
    pictures: Pictures,
    learnt: str,
) -> list[Path]:
    names = list(campaign.meta.class_names)
    table = pa.table(
        {
            "image": pa.array(
                [
                    {"bytes": content, "path": f"{row['source_index']}{suffix}"}
                    for row, content, suffix in zip(kept, pictures.content, pictures.suffixes, strict=True)
                ],
                pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
            ),
            "label": pa.array([row["label"] for row in kept], pa.int64()),
            "source_index": pa.array([row["source_index"] for row in kept], pa.int64()),
            "source_id": pa.array([row["source_id"] for row in kept], pa.int64()),
            "player": pa.array([row["player"] for row in kept], pa.int64()),
            "name": [row["name"] for row in kept],
            "decision": [decisions[row["position"]]["decision"] for row in kept],
            "reason": [decisions[row["position"]]["reason"] for row in kept],
        }
    )
    features: dict[str, Any] = {
        "image": {"_type": "Image"},
        "label": {"names": names, "_type": "ClassLabel"},
        **{name: {"dtype": "int64", "_type": "Value"} for name in ("source_index", "source_id", "player")},
        **{name: {"dtype": "string", "_type": "Value"} for name in ("name", "decision", "reason")},
    }
    metadata = {
        "huggingface": json.dumps({"info": {"features": features}}),
        "coterie.provenance": json.dumps(origin, ensure_ascii=False),
    }
    path = folder / "data" / PARQUET_NAME
    stamped = table.replace_schema_metadata(metadata)
    write_atomically(path, lambda temporary: pq.write_table(stamped, temporary, compression="zstd"))
    card = folder / "README.md"
    text = _card(campaign, len(kept), origin, pictures, learnt)
    write_atomically(card, lambda temporary: _write_text(temporary, text))
    return [path, card]


def _card(campaign: Campaign, n_kept: int, origin: dict[str, Any], pictures: Pictures, learnt: str) -> str:
    sentences = [learnt, *(origin["verification"] or ["The decision has not been verified by retraining."])]
    if not origin["analysis_is_current"]:
        sentences.append(OUTDATED)
    if pictures.sentence is not None:
        sentences.append(pictures.sentence)
    size = "" if pictures.size is None else f", {pictures.size[0]} x {pictures.size[1]} pixels"
    names = ("identity", "decisions", "decided", "analysis", "settings")
    lines = [
        "---",
        "configs:",
        "- config_name: default",
        "  data_files:",
        "  - split: train",
        "    path: data/train-*.parquet",
        "---",
        "",
        f"# {campaign.meta.name}, curated{size}",
        "",
        f"{n_kept} of {campaign.meta.n_train} training examples, kept by coterie.",
        "",
        *[f"- {sentence}" for sentence in sentences],
        "",
        "```json",
        json.dumps({name: origin[name] for name in names}, indent=2),
        "```",
        "",
    ]
    return "\n".join(lines)


def _write_csv(
    folder: Path, examples: list[dict[str, Any]], decisions: dict[int, dict[str, Any]], origin: dict[str, Any]
) -> Path:
    path = folder / "decisions.csv"
    columns = ("name", "group", "position", "source_index", "source_id", "class_name", "player")
    shown = ("decision", "rule", "reason", "cluster", "stands_in", "effect", "effect_low", "effect_high", "harm_q")

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle)
            writer.writerow(
                [*columns, *shown, "campaign_identity", "decisions_key"]
            )
            for row in examples:
                decision = decisions[row["position"]]
                writer.writerow(
                    [_cell(row[name]) for name in columns]
                    + [_cell(decision[name]) for name in shown]
                    + [origin["identity"], origin["decisions"]]
                )

    write_atomically(path, write)
    return path


def _cell(value: Any) -> Any:
    return spreadsheet_cell(value) if isinstance(value, str) else value


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
