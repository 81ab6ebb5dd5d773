"""Regression with gradient boosting: which patients lower the error together? Outputs are losses, so lower is better.

    .venv/bin/coterie run examples/trainers/boosting.yaml

Players are 60 patients of the diabetes data that scikit-learn ships, targets 40 others. An output is the squared error
of one target, in units of the variance of all; the configuration has higher_is_better: false.
"""

import numpy as np
from lightgbm import LGBMRegressor
from sklearn.datasets import load_diabetes

N_PLAYERS, N_TARGETS = 60, 40


def setup():
    data = load_diabetes(scaled=False)  # years and units of their own: the report shows them
    rows = np.random.default_rng(1).permutation(len(data.target))[: N_PLAYERS + N_TARGETS]
    return {"x": data.data[rows], "y": (data.target[rows] - data.target.mean()) / data.target.std()}


def players():
    found = setup()
    return [_row(found, row) for row in range(N_PLAYERS)]


def targets():
    found = setup()
    return [_row(found, row) for row in range(N_PLAYERS, N_PLAYERS + N_TARGETS)]


def train(indices, seed, context):
    x, y = context.data["x"], context.data["y"]
    model = LGBMRegressor(
        n_estimators=30, num_leaves=7, min_child_samples=3, learning_rate=0.15, subsample=0.8, subsample_freq=1,
        random_state=seed, n_jobs=1, verbose=-1, deterministic=True, force_row_wise=True,
    )
    model.fit(x[indices], y[indices])
    return (model.predict(x[N_PLAYERS:]) - y[N_PLAYERS:]) ** 2


def _row(found, row):
    shown = {"age": 0, "body mass index": 2, "blood pressure": 3}
    return {
        "name": f"patient {row}",
        "class": "worse than average" if found["y"][row] > 0 else "better than average",
        **{name: float(found["x"][row, column]) for name, column in shown.items()},
    }
