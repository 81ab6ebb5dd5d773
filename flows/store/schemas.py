"""Arrow schemas of the campaign's tables. One place, so that every writer and reader agrees."""

from __future__ import annotations

import pyarrow as pa

from training.packed_masks import packed_width

_f64 = pa.float64()

EXAMPLES = pa.schema(
    [
        ("split", pa.string()),  # train, target or audit
        ("position", pa.int32()),  # row within the split; a target's position is its target id
        ("name", pa.string()),  # what its owner calls it: one line of text (training.data.names)
        ("group", pa.string()),  # name of the player group a training example belongs to; null where it is its own
        ("source_index", pa.int64()),  # row in the data set it came from
        ("source_id", pa.int64()),  # the data set's own number of it (Parquet's column index); null where it has none
        ("label", pa.int32()),  # number of its class
        ("class_name", pa.string()),  # name of its class
        ("player", pa.int32()),  # -1 outside the training split
        ("image", pa.binary()),  # PNG; null where there is no picture
        ("text", pa.string()),  # shown where there is no picture; null: its name
    ]
)

EFFECTS = pa.schema(
    [
        ("target", pa.int32()),  # target's number; -1 is the mean over all, -(2 + class) the mean over a class
        ("player", pa.int32()),  # player's number
        ("effect", _f64),  # main effect: change of the output when the player joins, in the output's units
        ("shrunken", _f64),  # its empirical-Bayes posterior mean
        ("stderr", _f64),  # standard error of effect
        ("p_value", _f64),  # of no effect, two-sided
        ("q_value", _f64),  # false discovery rate at which it is listed, over all players and targets
    ]
)

# One row per reported set of a target; columns are the fields of attribution's `Interaction`, in Banzhaf units.
INTERACTIONS = pa.schema(
    [
        ("target", pa.int32()),  # target's number; -1 is the mean over all, -(2 + class) the mean over a class
        ("members", pa.list_(pa.int32())),  # players of the set, ascending
        ("order", pa.int8()),  # how many members
        ("value", _f64),  # I(S): +- 1.96 stderr is its 95% interval given that it was reported
        ("saturation", _f64),  # the part of value that any members of these main effects have
        ("specific", _f64),  # value less saturation: the part that belongs to these members
        ("shrunken", _f64),  # saturation plus the empirical-Bayes posterior mean of the rest
        ("stderr", _f64),  # standard error of value
        ("saturation_stderr", _f64),  # standard error of saturation
        ("specific_stderr", _f64),  # standard error of specific
        ("raw", _f64),  # the one-step estimate, inflated by selection
        ("raw_stderr", _f64),  # standard error of raw
        ("p_value", _f64),  # of I(S) = 0, two-sided
        ("q_value", _f64),  # false discovery rate of I(S), over all sets tested on all targets
        ("specific_p_value", _f64),  # of a specific part of 0, two-sided
        ("specific_q_value", _f64),  # false discovery rate at which it is listed, over all sets tested on all targets
        ("moebius", _f64),  # the interaction at the empty training set
        ("joint_surplus", _f64),  # J(S): what all do together beyond the sum of each alone
        ("specific_surplus", _f64),  # the same of the specific parts: its sign decides the kind
        ("kind", pa.string()),  # of the specific part: redundancy, synergy, boundary_synergy, …; or saturation
        ("class_split", pa.string()),  # target_class where all members have the target's class, else cross_class
        ("main_effects", pa.list_(_f64)),  # the members' own
        ("main_effect_stderrs", pa.list_(_f64)),  # standard errors of main_effects
        ("in_spectrum", pa.bool_()),  # whether cross-fitting kept the set for predictions
        ("gate_open", pa.bool_()),  # whether interactions improve predictions on this target
        ("proposed_by", pa.string()),  # proxy, screen, heredity, sieve or SPEX: whose test p_value is
        ("also_proposed_by", pa.list_(pa.string())),  # who else would have proposed the set
    ]
)

# One row per member set tested over all explained targets together (attribution/analysis/pooled_table.py).
SETS = pa.schema(
    [
        ("members", pa.list_(pa.int32())),  # players of the set, ascending
        ("order", pa.int8()),  # how many members
        ("statistic", _f64),  # weighted sum of z of the specific part over targets; above 0: together they do less
        ("largest_z", _f64),  # z of the specific part on the target where it is largest
        ("p_value", _f64),  # of no interaction on any target
        ("q_value", _f64),  # its false discovery rate over distinct sets
        ("specific_p_value", _f64),  # of no specific part on any target
        ("specific_q_value", _f64),  # its false discovery rate over distinct sets: those the set is listed by
        ("n_tested", pa.int32()),  # targets
        ("n_targets", pa.int32()),  # of them, with specific_q_value <= 0.05 by themselves
        ("strongest_target", pa.int32()),  # target of largest_z
        ("kind", pa.string()),  # on that target
        ("proposed_by", pa.list_(pa.string())),  # everybody who proposed it on some target
    ]
)

# One row per target, estimator and metric (attribution/analysis/scores.py); flows/store/faithfulness.py reads it.
# Estimator "none", of the target itself: noise_ceiling (with its interval), output_sd. Each estimator: r2 (with its
# interval), lds. "spectrum", tested against the datamodel: n_interactions, gate_p, gate_q, gate_open (1 or 0).
FAITHFULNESS = pa.schema(
    [
        ("target", pa.int32()),  # target's number; -1 is the mean over all, -(2 + class) the mean over a class
        ("estimator", pa.string()),  # datamodel, link, proxy, spectrum, published; none: of the target itself
        ("metric", pa.string()),  # r2, lds, noise_ceiling, output_sd, n_interactions, gate_p, gate_q or gate_open
        ("value", _f64),  # the metric
        ("low", _f64),  # of the 95% interval; NaN for a metric without one
        ("high", _f64),  # of the 95% interval; NaN for a metric without one
    ]
)


def masks_schema(n_players: int, several_alphas: bool = False) -> pa.Schema:
    """Return the schema of `masks`: one row for each model to train.

    Parameters
    ----------
    n_players : int
        Masks are packed 8 players to a byte, player 0 in the lowest bit.
    several_alphas : bool
        Whether the campaign has several alphas; each mask's is then a column.

    Returns
    -------
    pyarrow.Schema
    """
    return pa.schema(
        [
            ("mask_id", pa.int64()),  # its number; the mask follows from it and the campaign's seed
            ("replicate", pa.int32()),  # 0, or n for the n-th further training of the same mask
            ("role", pa.string()),  # fit or holdout
            ("seed_group", pa.int64()),  # rows of one group share initialisation, order and augmentation
            ("mask", pa.binary(packed_width(n_players))),  # 8 players to a byte, player 0 in the lowest bit
            *([("alpha", pa.float64())] if several_alphas else []),  # only in campaigns of several alphas
        ]
    )


def outputs_schema(n_targets: int) -> pa.Schema:
    """Return the schema of `outputs`: one row for each trained model.

    Parameters
    ----------
    n_targets : int
        Numbers in `outputs`, which is null unless the status is "ok".

    Returns
    -------
    pyarrow.Schema
    """
    return pa.schema(
        [
            ("mask_id", pa.int64()),  # of the table masks
            ("replicate", pa.int32()),  # of the table masks
            ("status", pa.string()),  # ok, diverged or failed
            ("reason", pa.string()),  # why there is no number, with the name of a log; null where there is one
            ("outputs", pa.list_(pa.float32(), n_targets)),  # one number a target; null unless status is ok
            ("train_accuracy", pa.float32()),  # on the examples it was trained on
            ("target_accuracy", pa.float32()),  # on the targets
            ("audit_accuracy", pa.float32()),  # on the audit examples
            ("train_seconds", pa.float32()),  # wall time, its share of the networks trained together
            ("shard", pa.int64()),  # unit of work it was trained in
            ("ensemble_size", pa.int32()),  # networks trained together
            ("mode", pa.string()),  # execution mode
            ("host", pa.string()),  # machine
            ("device", pa.string()),  # cpu or cuda
            ("code_version", pa.string()),  # hash of the code that trained it
        ]
    )


_players = pa.list_(pa.int32())

CERTIFICATION = pa.schema(
    [
        ("experiment", pa.string()),  # its name; a campaign can have several
        ("place", pa.int32()),  # within its experiment; random sets follow the sets they stand beside
        ("origin", pa.string()),  # reported (top sets), kind, exploratory (a kind above the rate), random or named
        ("matched_to", pa.int32()),  # place of the reported set a random one stands beside; -1
        ("target", pa.int32()),  # target's number
        ("members", _players),  # players of the set, ascending
        ("order", pa.int8()),  # how many members
        ("kind", pa.string()),  # as the campaign reported it; empty where it did not
        ("class_split", pa.string()),  # as the campaign reported it
        ("q_value", _f64),  # as the campaign reported it
        ("banzhaf", _f64),  # the campaign's raw I(S)
        ("predicted", _f64),  # its shrunken I(S), what the verdict compares with
        ("measured", _f64),  # mean of Delta over base masks
        ("stderr", _f64),  # standard error of measured
        ("low", _f64),  # 95%
        ("high", _f64),  # 95%
        ("adjusted_low", _f64),  # at the level adjusted over the sets tried
        ("adjusted_high", _f64),  # at the same level
        ("level", _f64),  # of the adjusted interval
        ("verdict", pa.string()),  # certified, refuted or undecided
        ("joint_surplus_predicted", _f64),  # the campaign's J(S)
        ("joint_surplus", _f64),  # measured mean of J
        ("joint_surplus_low", _f64),  # 95%
        ("joint_surplus_high", _f64),  # 95%
        ("main_effects", pa.list_(_f64)),  # measured, of each member
        ("main_effect_stderrs", pa.list_(_f64)),  # their standard errors
        ("measured_kind", pa.string()),  # kind by the measured effects and J
        ("n_bases", pa.int32()),  # base masks
        ("n_lost", pa.int32()),  # base masks left out because a cell diverged
        ("n_models", pa.int32()),  # models trained for it
        ("pairing", _f64),  # sd of Delta over its sd with cells trained apart
        ("reason", pa.string()),  # the verdict in a sentence
    ]
)

DECISIONS = pa.schema(
    [
        ("player", pa.int32()),  # player's number
        ("name", pa.string()),  # what its owner calls it
        ("class_name", pa.string()),  # name of its class
        ("decision", pa.string()),  # keep, drop or review
        # mislabelled, label_conflict, label_in_doubt, harmful, redundant, look_alike, near_duplicate, budget, worth, …
        ("rule", pa.string()),
        ("reason", pa.string()),  # the rule in words
        ("cluster", pa.int32()),  # redundant cluster, -1
        ("stands_in", pa.int32()),  # the kept player that stands in for a dropped one, -1
        ("protected_by", pa.list_(pa.int64())),  # rows of `interactions` that protect it
        ("evidence", pa.list_(pa.int64())),  # rows of `interactions` the decision rests on
        ("effect", _f64),  # on the mean probability of the correct class over all targets
        ("effect_low", _f64),  # 95%
        ("effect_high", _f64),  # 95%
        ("own_class_effect", _f64),  # on the targets of its own class
        ("own_class_low", _f64),  # 95%
        ("own_class_high", _f64),  # 95%
        ("harm_q", _f64),  # false discovery rate at which it counts as harmful
        ("label_score", _f64),  # log odds of its label by models trained without it; null where none were trained
        ("label_q", _f64),  # false discovery rate at which its label is called wrong
        ("n_own_class_hurt", pa.int32()),  # explained targets of its own class it hurts
        ("n_own_class_explained", pa.int32()),  # explained targets of its own class
        ("cost_of_dropping", _f64),  # change of the surrogate by dropping it (or bringing it back) at the decided set
        ("look_alike", pa.int32()),  # group of examples that look alike, -1
        ("matters", pa.string()),  # of its look-alike group: yes, no evidence, or empty
    ]
)

COMPARISONS = pa.schema(
    [
        ("architecture", pa.string()),  # network that was trained
        ("n_keep", pa.int32()),  # players kept
        ("share", _f64),  # of the players kept
        ("declared", pa.bool_()),  # whether this is the size declared beforehand
        ("arm", pa.string()),  # the choice compared, e.g. decided
        ("against", pa.string()),  # what it is compared with
        ("class_name", pa.string()),  # empty over all classes
        ("accuracy", _f64),  # of the arm, on audit examples
        ("accuracy_against", _f64),  # of the other
        ("difference", _f64),  # accuracy less accuracy_against
        ("low", _f64),  # over seeds and audit examples together; the verdict goes by it
        ("high", _f64),  # over seeds and audit examples
        ("low_seeds", _f64),  # over seeds alone: other trainings, these audit examples
        ("high_seeds", _f64),  # over seeds alone
        ("smallest", _f64),  # the smallest difference that could have been shown: half the interval's width
        ("level", _f64),  # of this interval: verify.level over n_together
        ("n_together", pa.int32()),  # comparisons that are claimed together
        ("n_seeds", pa.int32()),  # trainings of each
        ("n_examples", pa.int32()),  # audit examples (of the class)
        ("verdict", pa.string()),  # by the interval over seeds and audit examples
    ]
)

BRITTLENESS = pa.schema(
    [
        ("target", pa.int32()),  # target's number
        ("search", pa.string()),  # main_effects or interactions
        ("gate_open", pa.bool_()),  # whether interactions improve predictions on this target
        ("margin_full", _f64),  # mean margin with all players
        ("predicted_removals", pa.int32()),  # -1: the surrogate flips it with none of the removals allowed
        ("confirmed_removals", pa.int32()),  # smallest tried removal from which on the margin's interval is below 0; -1
        ("removed", _players),  # players of the confirmed removal
        ("predicted_margin", _f64),  # of the surrogate, after the removal
        ("margin_after", _f64),  # mean margin after the removal, measured
        ("margin_after_low", _f64),  # 95%
        ("margin_after_high", _f64),  # 95%
        ("tried", pa.list_(pa.int32())),  # sizes of the removals that were trained
        ("margins", pa.list_(_f64)),  # mean margin at each size
        ("n_seeds", pa.int32()),  # trainings of each removal
    ]
)


def verification_schema(n_examples: int, n_classes: int) -> pa.Schema:
    """Return the schema of the verification: one row for each trained model of an arm.

    Parameters
    ----------
    n_examples : int
        Examples evaluated; `outputs` holds margin_max of each, above 0 where it is correct.
    n_classes : int

    Returns
    -------
    pyarrow.Schema
    """
    return pa.schema(
        [
            ("mask_id", pa.int64()),  # its number within the plan
            ("plan", pa.string()),  # experiment it belongs to
            ("architecture", pa.string()),  # network that was trained
            ("arm", pa.string()),  # decided, random, main_effects, embedding or full
            ("n_keep", pa.int32()),  # players kept
            ("share", _f64),  # of the players kept
            ("declared", pa.bool_()),  # whether this is the size declared beforehand
            ("seed_index", pa.int32()),  # which of the arm's trainings
            ("removed", _players),  # players left out
            ("status", pa.string()),  # ok, diverged or failed
            ("accuracy", _f64),  # on audit examples
            ("class_accuracy", pa.list_(_f64, n_classes)),  # the same for each class
            ("outputs", pa.list_(pa.float32(), n_examples)),  # margin_max of each evaluated example, above 0 if correct
            ("train_seconds", pa.float32()),  # wall time
        ]
    )


def label_check_width(n_train: int, n_targets: int) -> int:
    """Return how many outputs a model of a label check has.

    Parameters
    ----------
    n_train, n_targets : int
        Training examples, and targets: each of these under its own label and under a planted wrong one.
    """
    return n_train + 2 * n_targets


def results_schema(n_examples: int) -> pa.Schema:
    """Return the schema of `results`: experiments on other examples, or trained otherwise, than the campaign's rows.

    Parameters
    ----------
    n_examples : int
        Examples that each model is evaluated on.

    Returns
    -------
    pyarrow.Schema
    """
    return pa.schema(
        [
            ("mask_id", pa.int64()),  # its number within the plan
            ("status", pa.string()),  # ok, diverged or failed
            ("reason", pa.string()),  # why there is no number, with the name of a log
            ("outputs", pa.list_(pa.float32(), n_examples)),  # one number an evaluated example
            ("train_seconds", pa.float32()),  # wall time
            ("ensemble_size", pa.int32()),  # networks trained together
            ("mode", pa.string()),  # execution mode
            ("host", pa.string()),  # machine
            ("device", pa.string()),  # cpu or cuda
            ("code_version", pa.string()),  # hash of the code that trained it
        ]
    )


# One row for each rule and size that `coterie prune` tried.
PRUNING = pa.schema(
    [
        ("arm", pa.string()),  # spectrum, linear, single, taylor, magnitude or random
        ("share", _f64),  # of the components that go
        ("n_keep", pa.int32()),  # components that stay
        ("kept", _players),  # which
        ("accuracy", _f64),  # of what stays, on images that no rule has seen
        ("difference", _f64),  # from the whole network, on the same images
        ("low", _f64),  # 95%, over images
        ("high", _f64),  # 95%, over images
        ("beside", _f64),  # accuracy less that of the spectrum's choice of the same size
        ("beside_low", _f64),  # 95%, over images
        ("beside_high", _f64),  # 95%, over images
        ("n_images", pa.int32()),  # images it was judged on
    ]
)

# One row for each target and order of removal that `coterie flip` tried. Margins are evaluated, not predicted.
FLIPS = pa.schema(
    [
        ("target", pa.int32()),  # target's number
        ("order_by", pa.string()),  # interactions, main_effects, linear, occlusion, gradients or random
        ("margin_full", _f64),  # with all players
        ("flipped", pa.bool_()),  # whether a removal in this order turns the prediction over
        ("removed", _players),  # the removal: none of its members can be put back
        ("margin_after", _f64),  # after it
        ("n_tried", pa.int32()),  # masks evaluated to find it
        ("order", _players),  # all players, the first to go first
        ("deletion", pa.list_(_f64)),  # margin after 0, 1, 2, … removals in this order
        ("insertion", pa.list_(_f64)),  # margin with 0, 1, 2, … players put in, the most important first
    ]
)
