"""Read a campaign with DuckDB and pandas. Every table of a campaign's folder is Parquet.

Give the folder as the first argument; `make run` makes the default, runs/quickstart.
"""

# %% The folder, and what it holds.
import sys

import duckdb

from flows.store import Campaign

folder = sys.argv[1] if len(sys.argv) > 1 else "runs/quickstart"
campaign = Campaign(folder)
interactions = campaign.read("interactions")  # a pyarrow.Table; the columns are in the documentation, "Tables"
examples = campaign.read("examples")
print(f"{campaign.n_players} players, {campaign.n_targets} targets, {len(interactions)} interactions")

# %% DuckDB queries a pyarrow table by the name of its variable: kinds, and how often each was found.
kinds = duckdb.sql("""
    SELECT kind, count(*) AS n, count(DISTINCT members) AS sets
    FROM interactions WHERE q_value <= 0.1 AND gate_open AND target >= 0
    GROUP BY kind ORDER BY n DESC, kind
""").df()
print(kinds)
assert kinds["n"].sum() == sum(
    row["q_value"] <= 0.1 and row["gate_open"] and row["target"] >= 0 for row in interactions.to_pylist()
)

# %% The strongest pairs with the classes of their members, as a pandas data frame.
pairs = duckdb.sql("""
    SELECT i.target, i.members, i.value, i.stderr, i.kind, a.class_name AS first, b.class_name AS second
    FROM interactions i
    JOIN examples a ON a.player = i.members[1] AND a.split = 'train'
    JOIN examples b ON b.player = i.members[2] AND b.split = 'train'
    WHERE i."order" = 2 AND i.q_value <= 0.1
    ORDER BY abs(i.value / i.stderr) DESC LIMIT 10
""").df()
print(pairs.to_string(index=False))
assert len(pairs) > 0

# %% Fragments can be read without this package too: accuracy by execution mode and host.
files = f"{folder}/outputs/*.parquet"
models = duckdb.sql(f"""
    SELECT mode, status, count(*) AS n, avg(target_accuracy) AS accuracy, sum(train_seconds) AS seconds
    FROM read_parquet('{files}') GROUP BY mode, status ORDER BY n DESC
""").df()
print(models.to_string(index=False))
assert (models["n"] > 0).all()
