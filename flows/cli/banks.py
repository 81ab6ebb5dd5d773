"""The command of recorded banks: import."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command("import")
    def import_(
        folder: Annotated[str, typer.Argument(metavar="FOLDER", help="The new campaign's folder.")],
        masks: Annotated[
            str | None,
            typer.Option(help="npy, npz, Parquet, or lists of player numbers (JSON, text); FILE:NAME for one array."),
        ] = None,
        outputs: Annotated[
            str | None, typer.Option(help="npy, npz or Parquet: a row a mask, a column a target.")
        ] = None,
        alpha: Annotated[float | None, typer.Option(help="Probability with which the masks include a player.")] = None,
        layout: Annotated[
            str | None, typer.Option(help="A bank of datamodels, coar, dattri or bergson, in --bank.")
        ] = None,
        bank: Annotated[str | None, typer.Option(help="The folder of --layout.")] = None,
        replicate_of: Annotated[
            str | None, typer.Option(help="For each row of the outputs the row (mask) it repeats; -1 for none.")
        ] = None,
        players: Annotated[
            str | None, typer.Option(help="CSV or Parquet with a row each: name, class, text, picture.")
        ] = None,
        targets: Annotated[str | None, typer.Option(help="The same for targets.")] = None,
        pictures: Annotated[
            str | None, typer.Option(help="Folder of pictures called like the rows of these tables.")
        ] = None,
        n_players: Annotated[
            int | None, typer.Option(min=1, help="For masks that do not say it: packed bits, lists of player numbers.")
        ] = None,
        holdout: Annotated[
            int | None, typer.Option(min=0, help="Masks to hold out; a fifth, at most 256, when left out.")
        ] = None,
        mask_format: Annotated[
            str, typer.Option(help="binary, signs, packed or indices, where it is not recognised.")
        ] = "auto",
        bit_order: Annotated[str | None, typer.Option(help="Of packed bits: big (NumPy's default) or little.")] = None,
        inverted: Annotated[
            bool, typer.Option("--inverted", help="The masks mark the players that are left out.")
        ] = False,
        output: Annotated[
            str, typer.Option(help="margin_max, margin_lse, or value: any number of which more is better.")
        ] = "margin_max",
        lower_is_better: Annotated[
            bool, typer.Option("--lower-is-better", help="For losses: minus the output is stored and explained.")
        ] = False,
        name: Annotated[str | None, typer.Option(help="The campaign's name; the folder's when left out.")] = None,
    ) -> None:
        """Make a campaign of masks and outputs that you have: files of your own, or a bank of another project.

        Then: coterie attribute FOLDER, report, show, score, curate, export. Nothing is trained, so certify and verify
        say what is missing. The files are read twice, in blocks, and not changed.
        """
        from flows.banks.errors import BankError
        from flows.banks.importing import import_bank

        if bit_order not in (None, "big", "little"):
            raise BankError(f"--bit-order is big or little; got {bit_order!r}")
        done = import_bank(
            folder, masks=masks, outputs=outputs, alpha=alpha, layout=layout, bank=bank, replicate_of=replicate_of,
            players=players, targets=targets, pictures=pictures, n_players=n_players, holdout=holdout,
            mask_format=mask_format, bit_order="big" if bit_order == "big" else "little" if bit_order else None,
            inverted=inverted, output=output, lower_is_better=lower_is_better, name=name, say=print,
        )  # fmt: skip
        if not done.new:
            print(f"{done.campaign.folder} holds this bank already: nothing to do")
            return
        print(
            f"{done.n_fit:,} rows to fit on and {done.n_holdout:,} held-out masks are in {done.campaign.folder}. Next: "
            f"coterie run {done.campaign.folder}"
        )
