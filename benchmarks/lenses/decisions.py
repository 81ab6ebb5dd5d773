"""What the lenses decide, tried: pruned networks on unseen images, smallest flips, deletion and insertion.

    python benchmarks/lenses/decisions.py pruning [channels|heads] [epochs]
    python benchmarks/lenses/decisions.py flips [FOLDER of lenses/peers.py, with its table and its values]

Models are the small ones on digits, trained here. `coterie prune` and `coterie flip` do the same for a campaign; here
three models are pruned, and every flip is held against all 65,536 masks. Tables: benchmarks/lenses.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from ablation import ComponentGame, PatchGame
from attribution import Datamodel, ProxySPEX
from attribution.curation.surrogate import Surrogate
from flows.lenses.digits import digits, resnet, transformer
from flows.lenses.pruning import ARMS, Training, compared, judge, pruned, scores_of_arms, surrogate_of
from flows.lenses.removals import Margins, Order, by_scores, by_surrogate, try_orders
from flows.reporting.lens_decisions import ORDERS, flip_table

# Orders beside those of `coterie flip`: of shapiq's methods from 500 evaluations.
TRIED = {
    "KernelSHAP": "kernel_shap", "KernelSHAP-IQ (k-SII, order 2)": "kernel_shap_iq",
    "shapiq's ProxySPEX (FBII, order 3)": "shapiq_proxyspex", "ProxySHAP (tuned, FBII, order 3)": "proxyshap",
}  # fmt: skip
NAMES = ORDERS | {by: name for name, by in TRIED.items()}
SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.6)
ALPHA, N_MASKS = 0.8, 1500


def pruning(components: str = "channels", epochs: str = "0") -> None:
    """Accuracy of three pruned models, with intervals over 400 images that no rule has seen.

    With epochs every pruned network, and the whole one that it is compared with, is first trained on the model's own
    training images for so long; what was removed stays removed.
    """
    print("model, removed: accuracy of each rule [difference from the whole] (from the spectrum's choice)")
    for seed in range(3):
        model, images, labels = (transformer if components == "heads" else resnet)(seed)
        game = ComponentGame(model, images[:60], labels[:60], components=components, ablation="mean", batch_size=512)
        masks = np.random.default_rng(seed).random((N_MASKS, game.n_players)) < ALPHA
        outputs = game.evaluate(masks)
        unseen = np.random.default_rng(100 + seed).random((400, game.n_players)) < ALPHA
        held, mean = game.evaluate(unseen).mean(axis=1), outputs.mean(axis=1)
        scores = [
            1 - ((held - one.fit(masks, mean).predict(unseen).reshape(-1)) ** 2).mean() / held.var()
            for one in (Datamodel(alpha=ALPHA), ProxySPEX(alpha=ALPHA))
        ]
        surrogate = surrogate_of(masks, outputs, ALPHA)
        rules = scores_of_arms(game, masks, outputs, ALPHA, seed)
        new, truth = images[60:460], labels[60:460]
        training = Training(*digits(seed)[:2], epochs=int(epochs), seed=seed) if int(epochs) else None
        whole = judge(game, np.ones(game.n_players, bool), new, truth, training=training)
        print(
            f"model {seed}: {game.n_players} {components}, whole {whole.accuracy:.3f}, {len(surrogate.sets)} sets, "
            f"R2 of the mean margin on unseen masks {scores[0]:.3f} linear, {scores[1]:.3f} ProxySPEX"
        )
        for share in SHARES:
            first = None
            line = []
            for arm, keep in pruned(surrogate, rules, share).items():
                found = judge(game, keep, new, truth, beside=whole.correct, training=training)
                first = found.correct if first is None else first
                beside = compared(found.correct, first)
                line.append(
                    f"{arm} {found.accuracy:.3f} [{found.low:+.3f}, {found.high:+.3f}] "
                    f"({beside.difference:+.3f} [{beside.low:+.3f}, {beside.high:+.3f}])"
                )
            print(f"{seed} {share:.0%}: " + "; ".join(line), flush=True)
        assert len(line) == len(ARMS)


def exact_table() -> tuple[PatchGame, np.ndarray, np.ndarray]:
    """The game of 24 digits in 16 regions, all its masks and their outputs."""
    model, images, labels = resnet()
    game = PatchGame(model, images[:24], labels[:24], batch_size=512)
    masks = ((np.arange(2**16)[:, None] >> np.arange(16)) & 1).astype(bool)
    return game, masks, game.evaluate(masks).astype(np.float64)


def greedy_by_table(target: int, by: str, values: np.ndarray) -> Order:
    """Order 16 players by what a model of the game says of all masks, as `by_surrogate` does by a surrogate."""
    orders = []
    for insert in (False, True):
        mask, left, order = 0 if insert else 2**16 - 1, list(range(16)), []
        for _ in range(16):
            player = (max if insert else min)(left, key=lambda one: values[mask ^ (1 << one)])
            mask ^= 1 << player
            left.remove(player)
            order.append(player)
        orders.append(tuple(order))
    return Order(target, by, *orders)


def flips(folder: str | None = None) -> None:
    """Sizes of flips beside the smallest there is, and areas under curves, from 500 masks a target."""
    if folder is None:
        game, masks, outputs = exact_table()
    else:
        model, images, labels = resnet()
        game = PatchGame(model, images[:24], labels[:24], batch_size=512)
        masks = ((np.arange(2**16)[:, None] >> np.arange(16)) & 1).astype(bool)
        outputs = np.load(f"{folder}/table.npz")["outputs"]
    number = 1 << np.arange(16)

    def margins(asked: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return outputs[asked @ number, targets]

    rows = np.random.default_rng(0).choice(2**16, 500, replace=False)
    fitted = ProxySPEX().fit(masks[rows], outputs[rows])
    linear = Datamodel().fit(masks[rows], outputs[rows]).coef_
    alone = outputs[(2**16 - 1) - number]
    targets = np.flatnonzero(outputs[-1] > 0)
    if folder is not None:
        targets = np.array([target for target in targets if Path(f"{folder}/values_500_{target}.npz").exists()])
    orders: list[Order] = []
    for target in targets.tolist():
        sets = fitted.interactions(target, max_q=0.1)
        surrogate = Surrogate(
            0.5, 0.0, fitted.effects_[target], fitted.effect_stderrs_[target], tuple(one.members for one in sets),
            np.array([one.shrunken for one in sets]), np.array([one.stderr for one in sets]),
        )  # fmt: skip
        orders += [
            by_surrogate(target, "interactions", surrogate),
            by_scores(target, "main_effects", surrogate.main),
            by_scores(target, "linear", linear[target]),
            by_scores(target, "occlusion", -alone[:, target]),
            by_scores(target, "gradients", game.integrated_gradients(target)),
        ]
        if folder is not None:
            with np.load(f"{folder}/values_500_{target}.npz") as theirs:
                orders += [greedy_by_table(target, by, theirs[by]) for by in TRIED.values()]
    report_flips(orders, margins, (outputs, masks, targets))


def report_flips(orders: list[Order], margins: Margins, exact: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Print a line for each rule."""
    outputs, masks, targets = exact
    n_removed = 16 - masks.sum(axis=1)
    smallest = {int(t): int(n_removed[outputs[:, t] < 0].min()) for t in targets if (outputs[:, t] < 0).any()}
    tried = try_orders(orders, margins, 16)
    table = flip_table(
        [
            {
                "target": one.order.target, "order_by": one.order.by, "removed": one.removed, "flipped": one.flipped,
                "deletion": one.deletion, "insertion": one.insertion,
            }
            for one in tried
        ],
        NAMES,
    )  # fmt: skip
    print(f"{len(targets)} targets, smallest flip {np.mean(list(smallest.values())):.2f} regions")
    for row in table:
        own = [one for one in tried if one.order.by == row["order_by"]]
        hits = sum(one.flipped and len(one.removed) == smallest.get(one.order.target) for one in own)
        print(
            f"{NAMES[row['order_by']]}: {row['n_flipped']} flipped, {row['size']:.2f} regions (of {row['n_both']}), "
            f"{hits} of the smallest size; deletion {row['deletion']:.2f} "
            + "({:+.2f} [{:+.2f}, {:+.2f}])".format(*row["deletion_apart"])
            + f", insertion {row['insertion']:.2f} "
            + "({:+.2f} [{:+.2f}, {:+.2f}])".format(*row["insertion_apart"])
        )


if __name__ == "__main__":
    {"pruning": pruning, "flips": flips}[sys.argv[1]](*sys.argv[2:])
