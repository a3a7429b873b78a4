"""What no paper offers but every reader asks for: fewer layers, int8 weights, and a bag of words.

Each is a contender like the papers' methods, on the same task run.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from torch import Tensor, nn

from common.compare.names import BASELINE, INT8, LADDER, TFIDF
from common.early_exit.clock import Arm
from common.early_exit.runtime import Outcome
from common.methods import ONLY, Answer, Contender, EncoderContender, Method, Setting
from common.models.classifier import EncoderClassifier, classifier_logits
from common.run.replication import Step
from common.tasks.metrics import score
from common.tasks.task import Example


def after(logits: Tensor, layers: int) -> Outcome:
    """Everyone answers after so many layers."""
    return Outcome(logits, torch.full((len(logits),), layers))


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

    The kernels are those of x86 and ARM processors; whoever times on a GPU leaves it out.
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
        with warnings.catch_warnings():
            # PyTorch points to torchao, whose int8 kernels are slower than float32 on a CPU.
            warnings.simplefilter("ignore")
            model: EncoderClassifier = torch.ao.quantization.quantize_dynamic(
                self.task_run.classifier().cpu(), {nn.Linear}, dtype=torch.qint8
            )
        return model

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


class TfIdf(Contender):
    """Words and pairs of words, weighted by rarity, under logistic regression (scikit-learn).

    Of its regularisation the best of three is taken on tune. A pair of texts is two bags side by side.
    """

    name = TFIDF

    def training_steps(self) -> Sequence[Step]:
        """Seconds; nothing is kept, because no format but pickle holds it."""
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
        train, labels = _words(task.train), [int(e.label) for e in task.train]
        pipelines = []
        for strength in (0.3, 3.0, 30.0):
            model = make_pipeline(
                TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+"),
                LogisticRegression(C=strength, max_iter=1000, random_state=self.task_run.seed),
            )
            pipelines.append(model.fit(train, labels))
        truth = np.array([int(e.label) for e in task.tune])
        return max(pipelines, key=lambda p: score(task.metric, p.predict(_words(task.tune)), truth))

    def outcome(self, split: str, setting: Setting) -> Outcome:
        """After no layer."""
        return after(self._log_probabilities(self._examples(split)), 0)

    def _examples(self, split: str) -> Sequence[Example]:
        run = self.task_run
        examples: Sequence[Example] = getattr(run.task, split)
        return examples[: len(run.splits[split])]

    def _log_probabilities(self, examples: Sequence[Example]) -> Tensor:
        """(B, C); a class that train does not hold is never answered."""
        found = self.fitted.predict_log_proba(_words(examples))
        logits = torch.full((len(examples), self.task_run.outputs), -100.0)
        logits[:, torch.as_tensor(self.fitted.classes_)] = torch.as_tensor(found, dtype=torch.float32)
        return logits

    def flops(self, split: str, setting: Setting) -> NDArray[np.float64]:
        """A multiply-add for each feature of a text and each class."""
        features = self.fitted[0].transform(_words(self._examples(split)))
        return np.asarray(2.0 * np.diff(features.indptr) * self.task_run.outputs)

    def answer(self, setting: Setting) -> Answer:
        """The pipeline on texts."""
        return self._log_probabilities


def _words(examples: Sequence[Example]) -> list[str]:
    """Lower-cased words; those of a second text are marked."""
    texts = []
    for example in examples:
        words = example.text_a.lower().split()
        texts.append(" ".join(words + [f"2:{word}" for word in (example.text_b or "").lower().split()]))
    return texts


RIVALS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method(LADDER, Ladder, regression=True),
        Method(INT8, Int8, regression=True),
        Method(TFIDF, TfIdf),
    )
}
