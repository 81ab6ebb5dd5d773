"""Arguments that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from conf.compose import available

Name = Annotated[
    str,
    typer.Argument(
        metavar="CONFIG",
        help=f"A configuration in conf/ ({', '.join(available())}), the path of a YAML file of your own, or a "
        "campaign's folder.",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Overrides, e.g. sampler.alpha=0.3 campaign.n_fit=4000."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done and why, and do nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before an experiment of over ten campaigns.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Where = Annotated[
    str, typer.Argument(metavar="CAMPAIGN", help="A campaign's folder, or the configuration that names it.")
]
