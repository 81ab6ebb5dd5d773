"""What an audit found."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes
    ----------
    kind : str
    where : str
    what : str
    path : Path or None
        The file that a repair would set aside.
    """

    kind: str
    where: str
    what: str
    path: Path | None = None

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}: {self.what}"


@dataclass
class AuditReport:
    """What an audit looked at, and what it found.

    Attributes
    ----------
    findings : list of Finding
    notes : list of str
    n_fragments : int
    n_rows : int
    n_retrained : int
        Models trained again.
    """

    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    n_fragments: int = 0
    n_rows: int = 0
    n_retrained: int = 0
