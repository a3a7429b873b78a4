"""A bag of words under logistic regression (scikit-learn): what it reads, what it answers, how it is kept.

It is kept as a list of words and arrays: idf (F,), coefficients (C or 1, F), intercepts, classes. Nothing is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from torch import Tensor

from common.early_exit.runtime import Outcome
from common.records.measurements import write_text
from common.serve.home import Parts, Runner
from common.tasks.task import Example

WEIGHTS, WORDS = "bag.safetensors", "words.json"

COUNTED: Mapping[str, Any] = {"ngram_range": (1, 2), "sublinear_tf": True, "token_pattern": r"\S+"}
"""Words and pairs of words."""


def words_of(examples: Sequence[Example]) -> list[str]:
    """Lower-cased words; those of a second text are marked."""
    texts = []
    for example in examples:
        words = example.text_a.lower().split()
        texts.append(" ".join(words + [f"2:{word}" for word in (example.text_b or "").lower().split()]))
    return texts


def log_probabilities(fitted: Pipeline, examples: Sequence[Example], outputs: int) -> Tensor:
    """(B, C); a class that train does not hold is never answered."""
    found = fitted.predict_log_proba(words_of(examples))
    logits = torch.full((len(examples), outputs), -100.0)
    logits[:, torch.as_tensor(fitted.classes_)] = torch.as_tensor(found, dtype=torch.float32)
    return logits


def save_pipeline(fitted: Pipeline, folder: Path) -> None:
    """Write a fitted pipeline."""
    vectorizer, regression = fitted[0], fitted[-1]
    arrays = {
        "idf": vectorizer.idf_,
        "coefficients": regression.coef_,
        "intercepts": regression.intercept_,
        "classes": np.asarray(regression.classes_, dtype=np.int64),
    }
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / WEIGHTS)
    write_text(folder / WORDS, json.dumps(vectorizer.get_feature_names_out().tolist(), ensure_ascii=False) + "\n")


def load_pipeline(folder: Path) -> Pipeline:
    """Read what `save_pipeline` wrote."""
    arrays, words = load_file(folder / WEIGHTS), json.loads((folder / WORDS).read_text(encoding="utf-8"))
    vectorizer = TfidfVectorizer(**COUNTED, vocabulary={word: place for place, word in enumerate(words)})
    vectorizer.idf_ = arrays["idf"]
    regression = LogisticRegression()
    regression.coef_, regression.intercept_ = arrays["coefficients"], arrays["intercepts"]
    regression.classes_ = arrays["classes"]
    return make_pipeline(vectorizer, regression)


def bag_at_home(parts: Parts) -> Runner:
    """The pipeline at work."""
    fitted = load_pipeline(parts.folder)

    def run(examples: Sequence[Example]) -> Outcome:
        return Outcome(log_probabilities(fitted, examples, parts.outputs), torch.zeros(len(examples), dtype=torch.long))

    return run
