"""Every setting of every estimator: wrong values are named, and scikit-learn's tools work with all of them."""

import inspect
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.multioutput import MultiOutputRegressor

import attribution.estimators
from attribution import ProxySPEX
from attribution.errors import AttributionError

ESTIMATORS = [
    found
    for name in sorted(attribution.estimators.__all__)
    if inspect.isclass(found := getattr(attribution.estimators, name)) and hasattr(found, "fit") and name != "SPEX"
]  # SPEX needs a design; its settings are those of ProxySPEX
WEIGHTED = [one for one in ESTIMATORS if "sample_weight" in inspect.signature(one.fit).parameters]
SETTINGS = [
    (estimator, name, parameter.annotation)
    for estimator in ESTIMATORS
    for name, parameter in inspect.signature(estimator).parameters.items()
]
QUICK = {
    "ProxySPEX": {"max_order": 1},
    "BlendedProxySPEX": {"max_order": 1},
    "BoostedProxy": {"n_estimators": 5},
    "PublishedProxySPEX": {"max_depth": [2], "n_estimators": [20], "learning_rate": [0.1], "n_folds": 2},
}
NOT_NUMBERS = ["3", "abc", b"3", True, float("nan"), [1], np.array([1, 2]), {}, 1j, np.random.RandomState(0)]
WRONG = {
    "int": [None, 0.0, 1.5, -1, np.float32(2), np.random.default_rng(0), *NOT_NUMBERS],
    "int | None": [0.0, 1.5, -1, np.float32(2), np.random.default_rng(0), *NOT_NUMBERS],
    "float": [None, 0.0, -1.0, float("-inf"), np.random.default_rng(0), *NOT_NUMBERS],
    "str": [None, 0, "abc", b"cpu", ["cpu"], np.array(["cpu", "cpu"])],
    "Sequence[int]": [None, 3, "3", [], [0], [1.5], [True], [None], {}],
    "Sequence[float]": [None, 0.1, "abc", [], [-1.0], [float("nan")], [None], {}],
    "Any": ["abc", {}, -1.0, 0.0, [1.0, float("nan")], 1j, np.random.RandomState(0), [[1.0]]],
}


def example(n_masks=60, n_players=6, seed=0):
    rng = np.random.default_rng(seed)
    masks = rng.random((n_masks, n_players)) < 0.5
    return masks, masks @ np.arange(float(n_players)) + 0.1 * rng.standard_normal(n_masks)


@pytest.mark.parametrize(("estimator", "name", "kind"), SETTINGS, ids=lambda value: getattr(value, "__name__", value))
def test_a_wrong_setting_is_named_with_what_was_given(estimator, name, kind):
    masks, outputs = example()
    wrong = [value for value in WRONG[kind] if not (name == "penalties" and value is None)]
    for value in wrong:
        with pytest.raises(AttributionError, match=rf"(?s)\b{name}\b.*got .*\.$"):
            estimator(**{name: value}).fit(masks, outputs)


def test_none_and_generators_are_refused_as_seeds_with_the_reason():
    masks, outputs = example()
    for seed in (None, np.random.RandomState(0), np.random.default_rng(0)):
        with pytest.raises(AttributionError, match="so that a fit can be repeated"):
            ProxySPEX(seed=seed).fit(masks, outputs)


def test_targets_and_limits_of_interactions_are_checked():
    masks, outputs = example()
    model = ProxySPEX(max_order=2).fit(masks, outputs)
    for target in (0.0, "0", None, True, -1, 1, [0]):
        with pytest.raises(AttributionError, match=r"target must be an integer in 0\.\.0"):
            model.interactions(target)
    for max_q in (None, "0.05", -0.1, 1.5, float("nan")):
        with pytest.raises(AttributionError, match=r"max_q must be a number in \[0, 1\]"):
            model.interactions(max_q=max_q)
    assert model.interactions(np.int64(0), max_q=np.float32(1)) == model.interactions()
    with pytest.raises(AttributionError, match="higher_is_better must be True or False"):
        model.fit(masks, outputs, higher_is_better="False")


@pytest.mark.parametrize("wrong", ["abc", ["a"] * 60, [None] * 60, [[1, 2], [3]], np.ones((60, 2)), {}])
@pytest.mark.parametrize("estimator", WEIGHTED)
def test_wrong_weights_are_named(estimator, wrong):
    masks, outputs = example()
    with pytest.raises(AttributionError, match="sample_weight must"):
        estimator().fit(masks, outputs, sample_weight=wrong)


def test_alphas_of_a_prediction_are_checked():
    masks, outputs = example()
    model = ProxySPEX(max_order=2).fit(masks, outputs)
    for alpha in ("abc", [0.5] * 3, 1.5, [[0.5]], [0.5, None]):
        with pytest.raises(AttributionError, match="alpha must be"):
            model.predict(masks, alpha=alpha)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_numpy_integers_lists_matrices_and_foreign_byte_orders_change_nothing(estimator):
    masks, outputs = example()
    counts = {name: kind for _, name, kind in SETTINGS if _ is estimator}
    quick = QUICK.get(estimator.__name__, {})
    defaults = estimator(**quick).get_params()
    settings = {name: np.int64(defaults[name]) for name, kind in counts.items() if kind == "int"}
    expected = estimator(**quick).fit(masks, outputs).predict(masks)
    np.testing.assert_array_equal(estimator(**{**quick, **settings}).fit(masks, outputs).predict(masks), expected)
    for rows, values in (
        (masks.tolist(), outputs.tolist()),
        (np.matrix(masks), outputs),
        (masks.astype(">i4"), outputs.astype(">f8")),
        (np.asfortranarray(masks), outputs),
    ):
        np.testing.assert_array_equal(estimator(**quick).fit(rows, values).predict(rows), expected)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_tools_of_scikit_learn_work(estimator):
    masks, outputs = example(90)
    quick = estimator(**QUICK.get(estimator.__name__, {}))
    model = clone(quick).fit(masks, outputs)
    expected = model.predict(masks)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(masks), expected)
    assert cross_val_score(quick, masks, outputs, cv=2).shape == (2,)
    several = MultiOutputRegressor(quick).fit(masks, np.column_stack([outputs, -outputs]))
    np.testing.assert_array_equal(several.predict(masks)[:, 0], expected)
    name = next((name for name in ("seed", "n_penalties") if name in model.get_params()), "alpha")
    values = {"seed": [0, 1], "n_penalties": [5, 6], "alpha": [0.5]}[name]
    assert GridSearchCV(quick, {name: values}, cv=2).fit(masks, outputs).best_params_[name] in values
