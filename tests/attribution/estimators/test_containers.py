"""What people have in place of NumPy arrays: every container gives the fit that its array gives, or a clear refusal."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import clone

from attribution import Datamodel, ProxySPEX, unpack_masks
from attribution.checks import check_masks
from attribution.containers import as_array
from attribution.errors import AttributionError
from attribution.estimators import BoostedProxy, PairwiseLasso, RidgeDatamodel, SampleReuseBanzhaf
from attribution.masks.inputs import check_outputs

RNG = np.random.default_rng(0)
MASKS = RNG.random((200, 7)) < 0.5
OUTPUTS = (MASKS[:, [2]] | MASKS[:, [5]]) + 0.2 * RNG.normal(size=(200, 2))
NAMES = [f"image {k}" for k in range(7)]


@pytest.fixture(autouse=True)
def same_draws() -> None:
    """Every test draws the same numbers, in whatever order the tests run."""
    global RNG
    RNG = np.random.default_rng(0)


TENSOR = torch.from_numpy(MASKS)
CONTAINERS = {
    "lists": MASKS.tolist(),
    "integers": MASKS.astype(np.int8),
    "objects": MASKS.astype(object),
    "csr matrix": sparse.csr_matrix(MASKS),
    "csc array": sparse.csc_array(MASKS.astype(float)),
    "coo array": sparse.coo_array(MASKS),
    "frame": pd.DataFrame(MASKS, columns=NAMES),
    "nullable frame": pd.DataFrame(MASKS).astype("boolean"),
    "sparse frame": pd.DataFrame.sparse.from_spmatrix(sparse.csr_matrix(MASKS.astype(np.int8))),
    "tensor": TENSOR,
    "tensor with a gradient": TENSOR.float().requires_grad_(),
    "bfloat16": TENSOR.bfloat16(),
    "half": TENSOR.half(),
    "sparse tensor": TENSOR.float().to_sparse(),
    "transposed tensor": TENSOR.T.contiguous().T,
    "negated view": torch.imag(torch.conj(torch.complex(torch.zeros(200, 7), -TENSOR.float()))),
    "masked array without masked entries": np.ma.masked_array(MASKS, mask=False),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_masks_of_every_container_are_the_same_masks(container):
    rows = check_masks(CONTAINERS[container])
    assert rows.dtype == np.bool_ and rows.flags.c_contiguous
    assert np.array_equal(rows, MASKS)


@pytest.mark.parametrize(
    "outputs",
    [
        pd.DataFrame(OUTPUTS),
        pd.DataFrame(OUTPUTS).astype("Float64"),
        torch.from_numpy(OUTPUTS).requires_grad_(),
        OUTPUTS.astype(object),
        sparse.csr_array(OUTPUTS),
        OUTPUTS.tolist(),
    ],
    ids=["frame", "nullable frame", "tensor with a gradient", "objects", "sparse", "lists"],
)
def test_outputs_of_every_container_are_the_same_outputs(outputs):
    assert np.allclose(check_outputs(outputs, 200), OUTPUTS)


def test_a_series_or_a_tensor_of_one_dimension_is_one_target():
    for outputs in (pd.Series(OUTPUTS[:, 0]), torch.from_numpy(OUTPUTS[:, 0])):
        model = Datamodel().fit(MASKS, outputs)
        assert model.single_
        assert model.predict(MASKS).shape == (200,)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.gpu
def test_tensors_on_a_gpu_are_copied():
    assert np.array_equal(check_masks(TENSOR.cuda()), MASKS)


def test_polars_frames_are_masks_outputs_and_names():
    polars = pytest.importorskip("polars", reason="needs polars, which only this test uses")
    masks, outputs = polars.DataFrame(MASKS, schema=NAMES), polars.DataFrame(OUTPUTS, schema=["a", "b"])
    model = Datamodel().fit(masks, outputs)
    assert np.array_equal(model.coef_, Datamodel().fit(MASKS, OUTPUTS).coef_)
    assert list(model.feature_names_in_) == NAMES
    with_null = polars.DataFrame({"a": [1.0, None], "b": [True, False]})
    assert np.isnan(as_array(with_null, "outputs")[1, 0])


ESTIMATORS = [
    ProxySPEX(max_order=2), Datamodel(), BoostedProxy(n_estimators=5), RidgeDatamodel(), SampleReuseBanzhaf(),
    PairwiseLasso(),
]  # fmt: skip


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_column_names_are_kept_and_checked(estimator):
    frame = pd.DataFrame(MASKS, columns=NAMES)
    model = clone(estimator).fit(frame, OUTPUTS)
    assert list(model.feature_names_in_) == NAMES
    plain = model.predict(MASKS)
    assert np.array_equal(model.predict(frame), plain)
    with pytest.raises(AttributionError, match="another order"):
        model.predict(frame[NAMES[::-1]])
    with pytest.raises(AttributionError, match="other names"):
        model.predict(frame.rename(columns={"image 3": "image 30"}))
    model.fit(MASKS, OUTPUTS)
    assert not hasattr(model, "feature_names_in_")


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (pd.DataFrame(MASKS).astype("boolean").mask(np.eye(200, 7, dtype=bool)), "missing or masked"),
        (np.where(np.eye(200, 7, dtype=bool), None, MASKS), "missing or masked"),
        (np.ma.masked_array(MASKS, mask=np.eye(200, 7)), "missing or masked"),
        (MASKS.astype(str), "must be boolean"),
        (MASKS * 2, "must be boolean"),
        (np.packbits(MASKS, axis=1), "unpack_masks"),
        ([[True], [True, False]], "rows of one length"),
        (torch.empty((200, 7), device="meta"), "meta device"),
        (sparse.csr_array(MASKS * 0.5), "must be boolean"),
    ],
    ids=["NA", "None", "masked", "text", "twos", "packed", "ragged", "meta", "halves"],
)
def test_what_is_no_mask_is_refused_in_plain_words(masks, message):
    with pytest.raises(AttributionError, match=message):
        check_masks(masks)


def test_packed_masks_of_a_fit_are_named_when_predicting():
    model = Datamodel().fit(MASKS, OUTPUTS)
    with pytest.raises(AttributionError, match="unpack_masks"):
        model.predict(np.packbits(MASKS, axis=1))


@pytest.mark.parametrize("bitorder", ["little", "big"])
def test_packed_bits_come_back(bitorder):
    wide = RNG.random((50, 19)) < 0.5
    assert np.array_equal(unpack_masks(np.packbits(wide, axis=1, bitorder=bitorder), 19, bitorder), wide)
    with pytest.raises(AttributionError, match=r"\(n_masks, 3\)"):
        unpack_masks(np.packbits(wide, axis=1)[:, :2], 19)
    with pytest.raises(AttributionError, match="bitorder"):
        unpack_masks(np.packbits(wide, axis=1), 19, "middle")


def test_masks_that_unpack_themselves_are_unpacked():
    from training.packed_masks import PackedMasks

    assert np.array_equal(check_masks(PackedMasks.pack(MASKS)), MASKS)


def test_class_names_do_what_class_numbers_do():
    names, numbers = ["cat", "dog", "cat", "", "dog", "cat", "dog"], [0, 1, 0, -1, 1, 0, 1]
    found = [
        ProxySPEX(max_order=2).fit(MASKS, OUTPUTS, player_labels=players, target_labels=targets).interactions()
        for players, targets in ((names, ["cat", "dog"]), (numbers, [0, 1]), (pd.Series(names), ["cat", "dog"]))
    ]
    assert found[0] == found[1] == found[2]
    assert found[0][0].class_split == "target_class"
    with pytest.raises(AttributionError, match="both"):
        ProxySPEX().fit(MASKS, OUTPUTS, player_labels=names, target_labels=[0, 1])
    with pytest.raises(AttributionError, match="integers or names"):
        ProxySPEX().fit(MASKS, OUTPUTS, player_labels=np.linspace(0, 1, 7))


def with_missing():
    outputs = np.tile(OUTPUTS[:, [0]], 3)
    outputs[:30, 0], outputs[190:, 2] = np.nan, np.nan
    return outputs


@pytest.mark.parametrize("model", [ProxySPEX(max_order=2, missing="drop"), Datamodel(missing="drop")],
                         ids=["ProxySPEX", "Datamodel"])  # fmt: skip
def test_a_target_with_missing_outputs_is_fitted_on_the_rows_it_has(model):
    outputs = with_missing()
    whole = clone(model).fit(MASKS, outputs)
    assert whole.n_missing_.tolist() == [30, 0, 10]
    assert np.array_equal(np.isnan(whole.cross_fitted_), np.isnan(outputs))
    for target, rows in enumerate((slice(30, 200), slice(0, 200), slice(0, 190))):
        alone = clone(model).set_params(missing="raise").fit(MASKS[rows], outputs[rows, target])
        assert np.allclose(whole.predict(MASKS)[:, target], alone.predict(MASKS), atol=1e-6)
    refused = clone(model).set_params(missing="raise")
    with pytest.raises(AttributionError, match="missing='drop'"):
        refused.fit(MASKS, outputs)


def test_interactions_of_targets_with_missing_outputs_are_one_family():
    model = ProxySPEX(max_order=2, missing="drop").fit(MASKS, with_missing())
    alone = ProxySPEX(max_order=2).fit(MASKS, with_missing()[:, 1])
    assert model.n_considered_ == 3 * alone.n_considered_
    assert [model.interactions(target)[0].members for target in range(3)] == [(2, 5)] * 3


def test_missing_outputs_that_leave_nothing_to_fit_are_refused():
    outputs = with_missing()
    outputs[8:, 2] = np.nan
    with pytest.raises(AttributionError, match="target 2 has outputs on 8 masks only"):
        Datamodel(missing="drop").fit(MASKS, outputs)
    outputs[:, 2] = np.nan
    with pytest.raises(AttributionError, match="target 2 has no output at all"):
        Datamodel(missing="drop").fit(MASKS, outputs)
    with pytest.raises(AttributionError, match="missing must be one of"):
        Datamodel(missing="ignore").fit(MASKS, OUTPUTS)
    infinite = np.where(np.arange(200)[:, None] == 3, np.inf, OUTPUTS)
    with pytest.raises(AttributionError, match="not finite"):
        Datamodel(missing="drop").fit(MASKS, infinite)


def test_no_container_is_imported_for_a_numpy_array():
    """pandas and polars are optional: a NumPy array needs neither."""
    import subprocess

    program = "import sys, numpy; from attribution.checks import check_masks; check_masks(numpy.eye(3)); "
    program += "print({'pandas', 'polars', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
