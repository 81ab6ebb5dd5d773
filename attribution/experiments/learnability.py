"""Whether models learnt anything: accuracy on held-back examples against chance, for other models and examples."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from attribution.errors import AttributionError
from attribution.types import Array


@dataclass(frozen=True)
class Learnability:
    """Accuracy of a campaign's models on examples that no model was trained on, beside chance.

    Parameters
    ----------
    accuracy
        Mean over models and examples, 0 to 1.
    low, high
        Its interval over models and examples together.
    chance
        Accuracy of always naming the largest class, never less than 1 / classes.
    n_models, n_examples
        What was averaged over.
    examples_needed
        Examples with which this accuracy would lie above chance; None where it is above chance already, or not above
        chance in the mean.
    """

    accuracy: float
    low: float
    high: float
    chance: float
    n_models: int
    n_examples: int
    examples_needed: int | None = None

    @property
    def learnt(self) -> bool:
        """Whether the whole interval lies above chance."""
        return self.low > self.chance


def chance_level(labels: Array, n_classes: int) -> float:
    """Compute the accuracy of always naming the largest class: its share, never less than 1 / n_classes."""
    shares = np.bincount(np.asarray(labels, dtype=np.int64), minlength=n_classes) / max(1, len(labels))
    return float(max(shares.max(initial=0.0), 1 / max(1, n_classes)))


def learnability(
    accuracies: Array, labels: Array, n_classes: int, correct: Array | None = None, level: float = 0.05
) -> Learnability:
    """Compare models' accuracy on held-back examples with chance.

    Parameters
    ----------
    accuracies
        (models,) accuracy of each model on the held-back examples; NaN rows are left out.
    labels
        (examples,) class numbers of these examples.
    n_classes
        Classes of the data set.
    correct
        (models, other examples) 0/1 on other examples of the same kind, from which the spread of single examples is
        taken. Without it an example counts as right in all models or in none, which is the largest spread there is.
    level
        1 - coverage of the two-sided interval.

    Returns
    -------
    Learnability

    Raises
    ------
    AttributionError
        Without models or examples.

    Notes
    -----
    Two-way random effects, as in `comparison.compare`: variance s_models^2 / R + rho p (1 - p) / C for R models and C
    examples of mean accuracy p. rho p (1 - p) is the variance over examples of the share of models that are right on
    one; rho (0 to 1) is measured on `correct`. t with Satterthwaite's degrees of freedom.

    Examples
    --------
    >>> import numpy as np
    >>> weak = learnability(np.full(500, 0.53), np.arange(90) % 2, 2)
    >>> weak.learnt, weak.chance
    (False, 0.5)
    >>> learnability(np.full(500, 0.75), np.arange(90) % 2, 2).learnt
    True
    """
    from scipy.stats import t as student

    known = np.asarray(accuracies, dtype=np.float64)
    known = known[np.isfinite(known)]
    n_models, n_examples = len(known), len(labels)
    if n_models == 0 or n_examples == 0:
        raise AttributionError(
            f"accuracy needs models and held-back examples; got {n_models} models and {n_examples} examples. "
            "Set dataset.n_audit, or train models first."
        )
    mean = float(known.mean())
    of_models = float(known.var(ddof=1)) / n_models if n_models > 1 else 0.0
    of_one_example = _share_of_spread(correct) * mean * (1 - mean)
    of_examples = of_one_example / n_examples
    variance = of_models + of_examples
    parts = of_models**2 / max(1, n_models - 1) + of_examples**2 / max(1, n_examples - 1)
    reach = float(student.ppf(1 - level / 2, variance**2 / parts if parts > 0 else 1))
    half = reach * math.sqrt(variance)
    chance = chance_level(labels, n_classes)
    needed = None
    if mean > chance and mean - half <= chance:
        room = ((mean - chance) / reach) ** 2 - of_models
        needed = math.ceil(of_one_example / room) if room > 0 else None
    return Learnability(mean, mean - half, mean + half, chance, n_models, n_examples, needed)


def _share_of_spread(correct: Array | None) -> float:
    """rho: variance over examples of their rate of being right, as a share of p (1 - p)."""
    if correct is None or correct.shape[1] < 2:
        return 1.0
    rate = correct.mean(axis=0)
    mean = float(rate.mean())
    return 1.0 if mean * (1 - mean) == 0 else float(min(1.0, rate.var(ddof=1) / (mean * (1 - mean))))
