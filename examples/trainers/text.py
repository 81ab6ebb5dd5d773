"""Text with a small torch module: which docstrings teach a model to tell two libraries apart?

    .venv/bin/coterie run examples/trainers/text.yaml

Texts are docstrings of Python's own asyncio and email packages, read from their files; nothing is downloaded. A
linear layer over hashed character n-grams of three letters learns which package a text is from. Players are 64 texts,
targets 32, audit rows 32; an output is the log odds of the true package.
"""

import ast
import zlib
from pathlib import Path

import numpy as np
import torch

PACKAGES = ("asyncio", "email")
N_PLAYERS, N_TARGETS, N_AUDIT, N_BUCKETS = 64, 32, 32, 512


def texts():
    """(text, label, name) of as many docstrings of either package, in a fixed random order."""
    found = {}
    for label, package in enumerate(PACKAGES):
        for path in sorted((Path(ast.__file__).parent / package).glob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef | ast.ClassDef) and len(ast.get_docstring(node) or "") > 60:
                    found[ast.get_docstring(node)] = (label, f"{package}/{path.name}:{node.name}:{node.lineno}")
    by_label = [[item for item in found.items() if item[1][0] == label] for label in range(2)]
    half = (N_PLAYERS + N_TARGETS + N_AUDIT) // 2
    order = [np.random.default_rng(0).permutation(len(part))[:half] for part in by_label]
    pairs = zip(*([part[at] for at in rows] for part, rows in zip(by_label, order, strict=True)), strict=True)
    return [(text, label, name) for pair in pairs for text, (label, name) in pair]


def setup():
    torch.set_num_threads(1)
    counts = torch.zeros(N_PLAYERS + N_TARGETS + N_AUDIT, N_BUCKETS)
    chosen = texts()
    for row, (text, _, _) in enumerate(chosen):
        lowered = " ".join(text.lower().split())
        for at in range(len(lowered) - 2):
            counts[row, zlib.crc32(lowered[at : at + 3].encode()) % N_BUCKETS] += 1
    return {"x": torch.nn.functional.normalize(counts.sqrt()), "y": torch.tensor([label for _, label, _ in chosen])}


def players():
    return _rows(0, N_PLAYERS)


def targets():
    rows = _rows(N_PLAYERS, N_PLAYERS + N_TARGETS + N_AUDIT)
    return {**rows, "audit": [False] * N_TARGETS + [True] * N_AUDIT}


def train(indices, seed, context):
    x, y = context.data["x"].to(context.device), context.data["y"].to(context.device)
    generator = torch.Generator().manual_seed(seed)
    layer = torch.nn.Linear(N_BUCKETS, 1, device=context.device)
    with torch.no_grad():
        layer.weight.copy_(0.3 * torch.randn(1, N_BUCKETS, generator=generator))
        layer.bias.zero_()
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.1)
    inside = torch.as_tensor(indices)
    for _ in range(3):
        for batch in inside[torch.randperm(len(inside), generator=generator)].split(8):
            loss = torch.nn.functional.binary_cross_entropy_with_logits(layer(x[batch])[:, 0], y[batch].float())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    log_odds = layer(x[N_PLAYERS:])[:, 0]
    return torch.where(y[N_PLAYERS:] == 1, log_odds, -log_odds)


def _rows(first, last):
    chosen = texts()[first:last]
    return {
        "name": [name for _, _, name in chosen],
        "class": [PACKAGES[label] for _, label, _ in chosen],
        "text": [" ".join(text.split()) for text, _, _ in chosen],
    }
