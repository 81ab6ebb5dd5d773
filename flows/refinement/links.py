"""The link between a campaign and the campaigns inside its groups, as both folders keep it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flows.errors import StoreError
from flows.storage.files import read_json, write_json
from flows.store.campaign import Campaign
from flows.store.roles import count_rows

PARENT_FILE = "parent.json"  # in the child's folder
CHILDREN_FILE = "children.json"  # in the parent's folder


@dataclass(frozen=True)
class ParentLink:
    """What a child keeps of its parent.

    Attributes
    ----------
    folder : str
        Of the parent.
    identity : str
        The parent's identity hash.
    opened : tuple of str
        Names of the groups that were opened.
    reasons : tuple of str
        Why each was.
    n_fit : int
        Fit masks the parent had when the groups were chosen.
    analysis : str
        Key of the parent's analysis that they were chosen by; empty without one.
    """

    folder: str
    identity: str
    opened: tuple[str, ...]
    reasons: tuple[str, ...]
    n_fit: int
    analysis: str


def n_fit_of(campaign: Campaign) -> int:
    """Return the trained fit masks of a campaign."""
    return count_rows(rows for rows in campaign.trained() if rows.role == "fit")


def link(parent: Campaign, child: Campaign, opened: tuple[str, ...], reasons: tuple[str, ...]) -> ParentLink:
    """Write the link into both folders; call with the parent's lock held.

    Parameters
    ----------
    parent, child : Campaign
        Both exist.
    opened, reasons : tuple of str

    Returns
    -------
    ParentLink
    """
    found = ParentLink(
        folder=str(parent.folder.absolute() if isinstance(parent.folder, Path) else parent.folder),
        identity=parent.meta.identity_hash,
        opened=opened,
        reasons=reasons,
        n_fit=n_fit_of(parent),
        analysis=str((parent.analysis or {}).get("key", "")),
    )
    write_json(child.folder / PARENT_FILE, asdict(found))
    folders = child_folders(parent)
    own = str(child.folder.absolute() if isinstance(child.folder, Path) else child.folder)
    if own not in folders:
        write_json(parent.folder / CHILDREN_FILE, {"children": [*folders, own]})
    return found


def parent_of(child: Campaign) -> ParentLink | None:
    """Return what a campaign keeps of its parent; None for one that was not made by `coterie refine`.

    Raises StoreError for a file that cannot be read.
    """
    path = child.folder / PARENT_FILE
    if not path.is_file():
        return None
    content: dict[str, Any] = read_json(path)
    try:
        return ParentLink(**{**content, "opened": tuple(content["opened"]), "reasons": tuple(content["reasons"])})
    except (KeyError, TypeError) as error:
        raise StoreError(f"{path} does not name a parent ({error}). Run `coterie refine` again") from error


def child_folders(parent: Campaign) -> list[str]:
    """Return the folders of the campaigns inside this one's groups, the oldest first."""
    path = parent.folder / CHILDREN_FILE
    if not path.is_file():
        return []
    folders: list[str] = read_json(path)["children"]
    return folders


def children_of(parent: Campaign) -> tuple[list[Campaign], list[str]]:
    """Return the children that exist and fit their parent, and a sentence about each that does not.

    Parameters
    ----------
    parent : Campaign

    Returns
    -------
    children : list of Campaign
    notes : list of str
    """
    children, notes = [], []
    for folder in child_folders(parent):
        child = Campaign(folder)
        known = parent_of(child) if child.exists else None
        if known is None:
            notes.append(f"The campaign in {folder} that opened groups of {parent.folder} is not there any more.")
        elif known.identity != parent.meta.identity_hash:
            notes.append(f"{folder} was made inside another campaign than {parent.folder} is now, and is left out.")
        else:
            children.append(child)
    return children, notes


def topped_up_since(parent: Campaign, child: Campaign) -> str:
    """Report that a parent has more models than when its groups were chosen; empty where it has not."""
    known = parent_of(child)
    now = n_fit_of(parent)
    if known is None or now == known.n_fit:
        return ""
    return (
        f"{parent.folder} was topped up from {known.n_fit} to {now} fit masks since {child.folder} opened "
        f"{len(known.opened)} of its groups: what the child measured inside them holds, and `coterie refine` would "
        "choose groups by the new evidence."
    )


def family_lines(campaign: Campaign) -> list[str]:
    """Report a campaign's parent and children, for `coterie status`; empty for one that has neither."""
    lines = []
    known = parent_of(campaign)
    if known is not None:
        lines.append(f"inside {len(known.opened)} groups of {known.folder}: {', '.join(known.opened)}")
        parent = Campaign(known.folder)
        if not parent.exists or parent.meta.identity_hash != known.identity:
            lines.append(f"{known.folder} does not hold the campaign any more whose groups were opened")
        elif outdated := topped_up_since(parent, campaign):
            lines.append(outdated)
    children, notes = children_of(campaign)
    for child in children:
        link_of = parent_of(child)
        lines.append(f"{0 if link_of is None else len(link_of.opened)} groups are opened in {child.folder}")
    return [*lines, *notes]
