"""Plot the sets of players that act together on one target, each kind in its colour.

The outputs are simulated, so that each kind of interaction is there. Give a file as the first argument to keep the
figure.
"""

# %% 1,500 trainings on random halves of 12 players.
import sys

import numpy as np

from attribution import ProxySPEX, plot_interactions

rng = np.random.default_rng(0)
masks = rng.random((1500, 12)) < 0.5
x = masks.T

# %% One target's output. Players 2 and 5 are copies; 1 and 7 help only together; 3 helps and counts for more where 9,
# which hurts, is present; 4 helps and counts for less where 11, which hurts, is present.
outputs = 1.2 * (x[2] | x[5]) + 0.9 * (x[1] & x[7])
outputs = outputs + 0.8 * x[3] - 0.6 * x[9] + 0.5 * (x[3] & x[9]) + 0.8 * x[4] - 0.9 * x[11] - 0.5 * (x[4] & x[11])
outputs = outputs + 0.3 * rng.standard_normal(len(masks))

# %% Fit, and keep the sets at a false discovery rate of 5%.
model = ProxySPEX(alpha=0.5, max_order=2).fit(masks, outputs)
found = model.interactions(target=0, max_q=0.05)

# %% Bars with 95% intervals, strongest evidence on top.
names = [f"image {player}" for player in range(12)]
ax = plot_interactions(found, names=names)
if len(sys.argv) > 1:
    ax.figure.savefig(sys.argv[1], dpi=110)
for interaction in found:
    print(interaction.members, interaction.kind, f"{interaction.value:+.2f}")

# %% Each planted pair is there, with its kind.
kinds = {interaction.members: interaction.kind for interaction in found}
planted = {(2, 5): "redundancy", (1, 7): "synergy", (3, 9): "boundary_synergy", (4, 11): "interference"}
assert all(kinds.get(members) == kind for members, kind in planted.items())
assert ax.get_yticklabels()[0].get_text() == "image 2 + image 5"
