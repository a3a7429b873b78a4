"""What no paper offers but every reader asks for: fewer layers, int8 weights, and a bag of words.

Each is a contender like the papers' methods, on the same task run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from torch import Tensor

from common.compare import onnx, pruned
from common.compare.bag_of_words import COUNTED, log_probabilities, save_pipeline, words_of
from common.compare.exits_in_int8 import exits_in_int8
from common.compare.int8 import in_int8
from common.compare.names import BASELINE, INT8, LADDER, TFIDF
from common.compare.outcomes import after
from common.early_exit.clock import Arm
from common.early_exit.runtime import Outcome
from common.methods import ONLY, Answer, Contender, EncoderContender, Method, Setting, find_methods, of_the_cpu
from common.models.classifier import EncoderClassifier, classifier_logits
from common.run.replication import Step
from common.tasks.metrics import score
from common.tasks.task import Example


class Baseline(EncoderContender):
    """The whole backbone, fine-tuned plainly."""

    name = BASELINE

    def training_steps(self) -> Sequence[Step]:
        """The baseline's own."""
        return self.task_run.static_steps(())

    @property
    def settings(self) -> Sequence[Setting]:
        """One."""
        return [ONLY]

    def outcome(self, split: str, setting: Setting) -> Outcome:
        """After all layers."""
        return after(self.task_run.static_logits()[split], self.task_run.num_layers)

    def flops(self, split: str, setting: Setting) -> NDArray[np.float64]:
        """Of all layers."""
        return self.task_run.baseline_flops(split)

    def arm(self, setting: Setting) -> Arm:
        """The classifier."""
        return self.task_run.classifier().to(self.task_run.timing_device)


class Ladder(EncoderContender):
    """The first k layers, fine-tuned by the same recipe: what leaving early has to beat."""

    name = LADDER

    @property
    def settings(self) -> Sequence[Setting]:
        """The recipe's depths."""
        run = self.task_run
        return [Setting(f"{depth} of {run.num_layers} layers", depth) for depth in run.recipe.depths(run.num_layers)]

    def training_steps(self) -> Sequence[Step]:
        """A classifier for each depth."""
        return self.task_run.static_steps([int(setting.at) for setting in self.settings])[1:]

    def outcome(self, split: str, setting: Setting) -> Outcome:
        """After k layers."""
        return after(self.task_run.static_logits(int(setting.at))[split], int(setting.at))

    def flops(self, split: str, setting: Setting) -> NDArray[np.float64]:
        """Of k layers."""
        return self.task_run.static_flops(split, int(setting.at))

    def arm(self, setting: Setting) -> Arm:
        """The shallow classifier."""
        return self.task_run.classifier(int(setting.at)).to(self.task_run.timing_device)


class Int8(EncoderContender):
    """The baseline with its linear layers in 8-bit integers, scaled on the fly (PyTorch's dynamic quantisation; CPU).

    The kernels are those of x86 and ARM processors; where the clock is a GPU's it does not take part.
    """

    name = INT8

    def training_steps(self) -> Sequence[Step]:
        """Nothing is trained; its answers differ a little from the baseline's and are collected."""
        run = self.task_run
        return [Step.making(f"{run.label}: the answers in int8", run.scored_seconds, lambda: self._logits)]

    @property
    def settings(self) -> Sequence[Setting]:
        """One."""
        return [ONLY]

    def quantised(self) -> EncoderClassifier:
        """The baseline in int8, on the CPU."""
        return in_int8(self.task_run.classifier().cpu())

    def original(self, split: str, setting: Setting) -> Tensor:
        """What the baseline answers in float32."""
        return self.task_run.static_logits()[split]

    @cached_property
    def _logits(self) -> dict[str, Tensor]:
        run, cpu = self.task_run, torch.device("cpu")

        def compute() -> dict[str, Tensor]:
            model = self.quantised()
            return {name: classifier_logits(model, split, cpu) for name, split in run.splits.items()}

        facts = {"model": run.classifier_folder().name, "engine": torch.backends.quantized.engine}
        return run.tensors("int8-logits", facts, compute)

    def outcome(self, split: str, setting: Setting) -> Outcome:
        """After all layers."""
        return after(self._logits[split], self.task_run.num_layers)

    def flops(self, split: str, setting: Setting) -> NDArray[np.float64]:
        """As many operations as the baseline's, in integers."""
        return self.task_run.baseline_flops(split)

    def arm(self, setting: Setting) -> Arm:
        """The quantised classifier."""
        return self.quantised()

    def save_parts(self, setting: Setting, folder: Path) -> Mapping[str, Any]:
        """The baseline in float32; it is quantised again when it is read."""
        self.task_run.classifier().save(folder)
        return {"layers": self.task_run.num_layers}


class TfIdf(Contender):
    """Words and pairs of words, weighted by rarity, under logistic regression (scikit-learn).

    Of its regularisation the best of three is taken on tune. A pair of texts is two bags side by side.
    """

    name = TFIDF

    def training_steps(self) -> Sequence[Step]:
        """Seconds; nothing is kept: to fit it again takes no longer than to look it up."""
        run = self.task_run
        return [Step.making(f"{run.label}: {TFIDF} with logistic regression", 3.0, lambda: self.fitted)]

    @property
    def settings(self) -> Sequence[Setting]:
        """One."""
        return [ONLY]

    @cached_property
    def fitted(self) -> Pipeline:
        """The pipeline, from the task's own training texts."""
        task = self.task_run.task
        train, labels = words_of(task.train), [int(e.label) for e in task.train]
        pipelines = []
        for strength in (0.3, 3.0, 30.0):
            model = make_pipeline(
                TfidfVectorizer(**COUNTED),
                LogisticRegression(C=strength, max_iter=1000, random_state=self.task_run.seed),
            )
            pipelines.append(model.fit(train, labels))
        truth = np.array([int(e.label) for e in task.tune])
        return max(pipelines, key=lambda p: score(task.metric, p.predict(words_of(task.tune)), truth))

    def outcome(self, split: str, setting: Setting) -> Outcome:
        """After no layer."""
        return after(self._log_probabilities(self._examples(split)), 0)

    def _examples(self, split: str) -> Sequence[Example]:
        run = self.task_run
        examples: Sequence[Example] = getattr(run.task, split)
        return examples[: len(run.splits[split])]

    def _log_probabilities(self, examples: Sequence[Example]) -> Tensor:
        return log_probabilities(self.fitted, examples, self.task_run.outputs)

    def flops(self, split: str, setting: Setting) -> NDArray[np.float64]:
        """A multiply-add for each feature of a text and each class."""
        features = self.fitted[0].transform(words_of(self._examples(split)))
        return np.asarray(2.0 * np.diff(features.indptr) * self.task_run.outputs)

    def answer(self, setting: Setting) -> Answer:
        """The pipeline on texts."""
        return self._log_probabilities

    def save_parts(self, setting: Setting, folder: Path) -> Mapping[str, Any]:
        """The pipeline as arrays and a list of words."""
        save_pipeline(self.fitted, folder)
        return {}


RIVALS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method(LADDER, Ladder, regression=True),
        Method(INT8, Int8, regression=True, unfit=of_the_cpu),
        *onnx.METHODS,
        *pruned.METHODS,
        Method(TFIDF, TfIdf),
    )
}


def every_method() -> dict[str, Method]:
    """All that a user can have: the baseline, these rivals, what the papers offer, and its exits in int8; by name."""
    offered = find_methods().methods
    baseline = Method(BASELINE, Baseline, regression=True)
    return {BASELINE: baseline, **RIVALS, **offered, **exits_in_int8(offered.values())}
