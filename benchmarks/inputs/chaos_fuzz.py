"""Mutated Parquet fragments and generated configurations: an error naming what is wrong, or the very same values.

    python benchmarks/inputs/chaos_fuzz.py --fragments 1000 --configurations 10000 --out fuzz.json

A mutation is one to eight random bytes changed, a bit turned, a piece cut out, doubled, or the end cut off. A reader
must then either raise StoreError or return exactly the values that were written. A configuration takes up to three
keys and gives each a value from a pool of plausible and absurd ones; it must either be valid or raise ConfigError.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa

from conf.compose import ConfigError, compose, known_keys, validate
from flows.errors import CoterieError
from flows.storage.files import read_table, write_table
from flows.store.schemas import outputs_schema

VALUES = [
    0, 1, -1, 2, 0.5, 1.5, -0.1, 1e308, float("nan"), float("inf"), 2**63, 10**30, "", "x", "null", None, True, [], [1],
    {}, {"a": 1}, "../../etc", "s3://", "\0", "ü" * 300, "0.5", "cuda", "bernoulli", "antithetic", "digits", -(2**64),
]


def _table(n_models: int, n_targets: int) -> pa.Table:
    rng = np.random.default_rng(0)
    status = rng.choice(["ok", "diverged"], n_models, p=[0.9, 0.1])
    values = pa.array(rng.normal(size=n_models * n_targets).astype(np.float32))
    outputs = pa.FixedSizeListArray.from_arrays(values, n_targets, mask=pa.array(status != "ok"))
    columns = {
        "mask_id": np.arange(n_models), "replicate": np.zeros(n_models, np.int32), "status": list(status),
        "reason": [""] * n_models, "outputs": outputs,
        **{name: rng.uniform(size=n_models).astype(np.float32)
           for name in ("train_accuracy", "target_accuracy", "audit_accuracy", "train_seconds")},
        "shard": np.zeros(n_models, np.int64), "ensemble_size": np.full(n_models, 32, np.int32),
        **{name: [name] * n_models for name in ("mode", "host", "device", "code_version")},
    }
    return pa.table(columns).select(outputs_schema(n_targets).names).cast(outputs_schema(n_targets))


def mutate(data: bytes, chance: random.Random) -> bytes:
    """One mutation of a file's bytes."""
    changed, at = bytearray(data), chance.randrange(len(data))
    how = chance.choice(["bit", "bytes", "footer", "cut", "double", "truncate", "zeros"])
    if how == "bit":
        changed[at] ^= 1 << chance.randrange(8)
    elif how == "bytes":
        for _ in range(chance.randint(1, 8)):
            changed[chance.randrange(len(data))] = chance.randrange(256)
    elif how == "footer":
        changed[-chance.randint(1, min(4000, len(data)))] = chance.randrange(256)
    elif how == "cut":
        del changed[at : at + chance.randint(1, 64)]
    elif how == "double":
        changed[at:at] = changed[at : at + chance.randint(1, 64)]
    elif how == "zeros":
        changed[at : at + 512] = bytes(len(changed[at : at + 512]))
    else:
        del changed[at:]
    return bytes(changed)


def fragments(count: int, folder: Path) -> dict[str, object]:
    """Mutated fragments: what the reader did with them."""
    table, path, chance = _table(64, 40), folder / "fragment.parquet", random.Random(0)
    write_table(path, table, "identity")
    original, seen, slowest, bad = path.read_bytes(), Counter[str](), 0.0, []
    for number in range(count):
        path.write_bytes(mutate(original, chance))
        began = time.monotonic()
        try:
            read = read_table(path, table.schema, identity="identity")
            same = read.equals(table)
            seen["values as written" if same else "OTHER VALUES"] += 1
            if not same:
                bad.append(f"mutation {number}: other values without an error")
        except CoterieError as error:
            seen["error naming the file" if str(path) in str(error) else "ERROR WITHOUT THE FILE"] += 1
        except Exception as error:  # what the fuzzer is for
            seen[f"TRACEBACK {type(error).__name__}"] += 1
            bad.append(f"mutation {number}: {type(error).__name__}: {error}")
        slowest = max(slowest, time.monotonic() - began)
    return {"count": count, "seen": dict(seen), "slowest_seconds": round(slowest, 2), "bad": bad[:20]}


def configurations(count: int, through_hydra: int) -> dict[str, object]:
    """Generated configurations: valid, or refused with the key's name."""
    base, keys, chance = compose("quickstart").model_dump(mode="json"), known_keys(), random.Random(1)
    seen, bad, slowest = Counter[str](), [], 0.0
    for number in range(count):
        chosen = {chance.choice([*keys, "no.such_key", "sampler.alhpa"]): chance.choice(VALUES)
                  for _ in range(chance.randint(1, 3))}
        began = time.monotonic()
        try:
            if number < through_hydra:
                compose("quickstart", [f"{key}={value}" for key, value in chosen.items()])
            else:
                raw = json.loads(json.dumps(base))
                for key, value in chosen.items():
                    section, _, name = key.partition(".")
                    if name:
                        raw.setdefault(section, {})[name] = value
                    else:
                        raw[section] = value
                validate(raw)
            seen["valid"] += 1
        except ConfigError as error:
            named = any(key.split(".")[-1] in str(error) or key in str(error) for key in chosen)
            seen["refused, naming the key" if named else "refused without the key"] += 1
            if not named:
                bad.append(f"{chosen}: {error}")
        except Exception as error:  # what the fuzzer is for
            seen[f"TRACEBACK {type(error).__name__}"] += 1
            bad.append(f"{chosen}: {type(error).__name__}: {error}")
        slowest = max(slowest, time.monotonic() - began)
    return {"count": count, "through_hydra": through_hydra, "seen": dict(seen),
            "slowest_seconds": round(slowest, 2), "bad": bad[:20]}


def main() -> int:
    """Exit code 1 when anything but an error naming what is wrong, or the same values, came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fragments", type=int, default=1000)
    parser.add_argument("--configurations", type=int, default=10_000)
    parser.add_argument("--through-hydra", type=int, default=300, help="so many of them as command-line overrides")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = {"fragments": fragments(chosen.fragments, Path(folder)),
                 "configurations": configurations(chosen.configurations, chosen.through_hydra)}
    text = json.dumps(found, indent=1)
    print(text)
    if chosen.out:
        chosen.out.write_text(text)
    return 1 if any(key.isupper() or key.split()[0].isupper() for part in found.values() for key in part["seen"]) else 0


if __name__ == "__main__":
    sys.exit(main())
