"""The words of one text as players: which of them act together under four scikit-learn text models?

    .venv/bin/coterie run examples/values/words.yaml

Texts are docstrings of Python's own asyncio and email packages, read from their files; nothing is downloaded. Four
models learn to tell the packages apart; then one docstring that none of them has seen is explained. Its first 24 words
are the players, in their places; a word that is left out is left out of the text, so that its neighbours meet. A
target is the margin of the right package under one model. Naive Bayes adds up its words, so it has no interaction; the
others have: pairs of neighbours (bigrams), a common length (tf-idf), and splits one behind another (boosting).
"""

import ast
import functools
from pathlib import Path

import numpy as np
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

PACKAGES = ("asyncio", "email")
N_WORDS = 24
MODELS = {
    "naive Bayes": (CountVectorizer(), MultinomialNB()),
    "tf-idf": (TfidfVectorizer(sublinear_tf=True), LogisticRegression(C=30.0)),
    "bigrams": (CountVectorizer(ngram_range=(1, 2), binary=True), LogisticRegression(C=1.0)),
    "boosting": (CountVectorizer(binary=True), GradientBoostingClassifier(max_depth=4, random_state=0)),
}


@functools.cache
def texts():
    """(texts, labels) of all docstrings of more than 60 characters, in a fixed random order."""
    found = {}
    for label, package in enumerate(PACKAGES):
        for path in sorted((Path(ast.__file__).parent / package).glob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef | ast.ClassDef) and len(ast.get_docstring(node) or "") > 60:
                    found[" ".join(ast.get_docstring(node).split())] = label
    order = np.random.default_rng(0).permutation(len(found))
    return [list(found)[row] for row in order], np.array(list(found.values()))[order]


def words():
    """The first words of the first docstring that is long enough: that one is explained, and not learnt from."""
    return next(text.split()[:N_WORDS] for text in texts()[0] if len(text.split()) >= N_WORDS)


def players():
    return {"name": [f"{place} {word}" for place, word in enumerate(words(), 1)], "text": words()}


def targets():
    return {"name": list(MODELS), "text": [f"{name}: margin of the right package" for name in MODELS]}


def setup():
    """Train the models on the other docstrings, once a process."""
    documents, labels = texts()
    explained = next(row for row, text in enumerate(documents) if len(text.split()) >= N_WORDS)
    kept = np.arange(len(documents)) != explained
    seen = [text for row, text in enumerate(documents) if row != explained]
    return [make_pipeline(*parts).fit(seen, labels[kept]) for parts in MODELS.values()], labels[explained]


def value(masks, context):
    """Margins, (n_masks, n_targets): log odds of the right package when these words are left."""
    models, label = context.data
    there = words()
    left = [" ".join(word for word, inside in zip(there, mask, strict=True) if inside) for mask in masks]
    log_odds = [model.predict_log_proba(left) for model in models]
    return np.stack([given[:, label] - given[:, 1 - label] for given in log_odds], axis=1)
