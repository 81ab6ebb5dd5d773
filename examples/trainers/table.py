"""Classification of a table with scikit-learn: which patients teach a logistic regression the same thing?

    .venv/bin/coterie run examples/trainers/table.yaml

Players are 60 patients of the breast cancer data that scikit-learn ships, targets 40 others, and 40 more are audit
rows. An output is a margin: the log odds of the true class.
"""

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

N_PLAYERS, N_TARGETS, N_AUDIT = 60, 40, 40


def setup():
    data = load_breast_cancer()
    rows = np.random.default_rng(0).permutation(len(data.target))[: N_PLAYERS + N_TARGETS + N_AUDIT]
    return {"x": data.data[rows], "y": data.target[rows]}


def players():
    data, found = load_breast_cancer(), setup()
    return _rows(found, data, range(N_PLAYERS))


def targets():
    data, found = load_breast_cancer(), setup()
    rows = _rows(found, data, range(N_PLAYERS, N_PLAYERS + N_TARGETS + N_AUDIT))
    return {**rows, "audit": [False] * N_TARGETS + [True] * N_AUDIT}


def train(indices, seed, context):
    x, y = context.data["x"], context.data["y"]
    # A training sees nine tenths of its rows, drawn by its seed: the noise of a training.
    sample = np.random.default_rng(seed).choice(indices, max(1, 9 * len(indices) // 10), replace=False)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    model.fit(x[sample], y[sample])  # one class alone raises: that call is a row with its reason
    log_odds = model.decision_function(x[N_PLAYERS:])
    return np.where(y[N_PLAYERS:] == 1, log_odds, -log_odds)


def _rows(found, data, chosen):
    shown = ["mean radius", "mean texture", "mean concavity"]
    columns = [list(data.feature_names).index(name) for name in shown]
    return {
        "name": [f"patient {row}" for row in chosen],
        "class": [str(data.target_names[found["y"][row]]) for row in chosen],
        **{name: [float(found["x"][row, at]) for row in chosen] for name, at in zip(shown, columns, strict=True)},
    }
