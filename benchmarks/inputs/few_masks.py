"""How long does a fit take where players far outnumber masks, and what does it find?

    python benchmarks/inputs/few_masks.py

Ten players of a few thousand have an effect of one standard deviation of the noise or more. CPU seconds of one thread
(`time.process_time`); *found* counts how many of the ten are among the ten largest effects.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import numpy as np  # noqa: E402

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from attribution import Datamodel, ProxySPEX  # noqa: E402

SHAPES = (
    (Datamodel, 300, 2_000, 1), (Datamodel, 300, 5_000, 1), (Datamodel, 300, 50_000, 1),
    (Datamodel, 200, 10_000, 3), (Datamodel, 60, 20_000, 1), (ProxySPEX, 300, 2_000, 1), (ProxySPEX, 300, 5_000, 1),
)  # fmt: skip


def main() -> None:
    print("| estimator | masks | players | targets | CPU seconds | found |\n|---|---|---|---|---|---|")
    for estimator, n_masks, n_players, n_targets in SHAPES:
        rng = np.random.default_rng((n_masks, n_players))
        masks = rng.random((n_masks, n_players)) < 0.5
        strong = rng.choice(n_players, 10, replace=False)
        outputs = 2.0 * masks[:, strong] @ rng.uniform(0.5, 1.5, (10, n_targets)) + rng.normal(
            size=(n_masks, n_targets)
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            began = time.process_time()
            model = estimator().fit(masks, outputs)
            seconds = time.process_time() - began
        effects = np.abs(model.effects_ if estimator is ProxySPEX else model.coef_.reshape(n_targets, -1))[0]
        found = len(set(np.argsort(-np.nan_to_num(effects))[:10]) & set(strong))
        name = estimator.__name__
        print(f"| `{name}` | {n_masks} | {n_players:,} | {n_targets} | {seconds:.1f} | {found} of 10 |", flush=True)


if __name__ == "__main__":
    main()
