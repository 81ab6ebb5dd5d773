"""Certify one pair by hand: retrain its four cells with common seeds, and read the interval of the interaction.

`coterie certify` does the same for twenty sets at once, and plans the number of models by power.
"""

# %% 200 handwritten digits. Players 44 and 48 are two sevens of one shape, target 104 is a test digit like them.
import numpy as np

from training import RECIPES, load_dataset, retrain, sample_masks

dataset = load_dataset("digits")
pair, target, n_bases = (44, 48), 104, 12

# %% Base masks: random halves of the other players. Each is trained four times: with neither, one, the other, both.
bases = sample_masks(n_players=len(dataset.train), count=n_bases, alpha=0.5, seed=7)
cells = np.repeat(bases, 4, axis=0)
cells[:, pair[0]] = np.tile([False, True, False, True], n_bases)
cells[:, pair[1]] = np.tile([False, False, True, True], n_bases)

# %% The four models of a base mask share a seed: initialisation and order of the examples cancel in the difference.
seeds = np.repeat(np.arange(n_bases), 4)
# `native` is compiled; without a C++ compiler the log names the mode used instead.
result = retrain(dataset, cells, seeds=seeds, recipe=RECIPES["digits"], mode="native", ensemble_size=16)
neither, first, second, both = result.outputs[:, target].reshape(n_bases, 4).T

# %% The interaction at each base mask, its mean, and a 95% t-interval over base masks.
delta = both - first - second + neither
mean, stderr = delta.mean(), delta.std(ddof=1) / np.sqrt(n_bases)
t_quantile = 2.201  # 97.5% of Student's t with 11 degrees of freedom
low, high = mean - t_quantile * stderr, mean + t_quantile * stderr
print(f"players {pair[0]} and {pair[1]} on target {target}: {mean:+.2f} [{low:+.2f}, {high:+.2f}]")
print(f"alone they add {np.mean(first - neither):+.2f} and {np.mean(second - neither):+.2f}")

# %% A redundancy: each helps alone, and together they do less than the sum.
assert np.mean(first - neither) > 0 and np.mean(second - neither) > 0
assert high < 0
