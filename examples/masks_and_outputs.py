"""Find interactions in masks and outputs you already have: no images, no campaign, only the library.

Run it whole, or cell by cell in an editor that knows `# %%`. It simulates 1,400 retrainings of 60 training examples;
put your own arrays in place of `masks` and `outputs`.
"""

# %% Masks: 1,400 random halves of 60 players. True means that the player was in the training set.
import numpy as np

from attribution import Datamodel, ProxySPEX

rng = np.random.default_rng(0)
n_players, alpha = 60, 0.5
masks = rng.random((1400, n_players)) < alpha

# %% Outputs: what each trained model gave on one test example. Here 7 and 19 are copies (either is enough), 3 and 40
# add up, and every run has the noise of its seed.
either = masks[:, 7] | masks[:, 19]
outputs = 1.5 * either + 0.8 * masks[:, 3] + 0.6 * masks[:, 40] + 0.5 * rng.standard_normal(len(masks))

# %% Keep masks that no fit uses, and fit the linear datamodel and ProxySPEX to the rest.
fit, held_out = slice(0, 1200), slice(1200, 1400)
datamodel = Datamodel(alpha=alpha).fit(masks[fit], outputs[fit])
model = ProxySPEX(alpha=alpha, max_order=2).fit(masks[fit], outputs[fit])


# %% Which one predicts the outputs of unseen masks better?
def r2(predicted: np.ndarray) -> float:
    truth = outputs[held_out]
    return 1 - np.mean((truth - predicted) ** 2) / np.var(truth)


linear, with_interactions = r2(datamodel.predict(masks[held_out])), r2(model.predict(masks[held_out]))
print(f"held-out R²: linear {linear:.3f}, with interactions {with_interactions:.3f}")
assert with_interactions > linear

# %% The strongest interactions. For a pair of copies worth 1.5 the interaction is -1.5: the second adds nothing.
found = [interaction for interaction in model.interactions(target=0) if interaction.q_value <= 0.05]
for interaction in found:
    low, high = interaction.value - 1.96 * interaction.stderr, interaction.value + 1.96 * interaction.stderr
    print(f"{interaction.members}: {interaction.value:+.2f} [{low:+.2f}, {high:+.2f}], {interaction.kind}")

strongest = found[0]
assert strongest.members == (7, 19) and strongest.kind == "redundancy"
assert abs(strongest.value + 1.5) < 4 * strongest.stderr
assert (3, 40) not in [interaction.members for interaction in found]  # they only add up
