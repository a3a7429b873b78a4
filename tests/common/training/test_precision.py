"""Training in bfloat16: weights stay float32, the same seed gives the same weights, and as much is learned."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.devices import Precision
from common.encoders.shapes import random_encoder
from common.models.classifier import EncoderClassifier, classifier_logits
from common.tasks.builtin import builtin_task
from common.training.batches import Batch, BucketedBatches, EncodedSplit
from common.training.finetune import classification_loss, new_classifier, write_report
from common.training.loop import FitReport, TrainingPlan, fit

TASK = builtin_task("mood")
PLAN = TrainingPlan(learning_rate=2e-3, epochs=5, batch_size=16, seed=0, warmup=0.1)
SHORT = replace(PLAN, epochs=1)
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")


def texts(count: int, seed: int) -> EncodedSplit:
    """Texts of 3 to 7 words of two kinds; the label says which kind is more frequent."""
    generator = torch.Generator().manual_seed(seed)
    kinds = [torch.randint(2, (3 + 2 * (row % 3),), generator=generator) for row in range(count)]
    words = [1000 + 10 * kind + torch.randint(10, kind.shape, generator=generator) for kind in kinds]
    labels = torch.stack([(kind.double().mean() > 0.5).long() for kind in kinds])
    return EncodedSplit(tuple((101, *word.tolist(), 102) for word in words), None, labels, padding_id=0)


TRAIN, FEW, DEV = texts(320, 0), texts(64, 1), texts(256, 2)


def new_model() -> EncoderClassifier:
    return new_classifier(random_encoder("tiny"), TASK, seed=0)


def trained(
    split: EncodedSplit, checkpoint: Path, precision: Precision, plan: TrainingPlan = SHORT
) -> tuple[EncoderClassifier, FitReport]:
    model, batches = new_model(), BucketedBatches(split, plan.batch_size, plan.seed)
    plan = replace(plan, precision=precision)
    report = fit(model, batches, classification_loss, plan, checkpoint=checkpoint, progress=lambda *_: None)
    return model.cpu(), report


def flat(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_bfloat16_is_another_training_that_is_the_same_every_time(tmp_path: Path) -> None:
    first, second = (trained(FEW, tmp_path / name, "bfloat16")[0] for name in "ab")
    other, _ = trained(FEW, tmp_path / "c", "float32")
    assert torch.equal(flat(first), flat(second))
    assert not torch.equal(flat(first), flat(other))
    assert {p.dtype for p in first.parameters()} == {torch.float32}


def test_an_interrupted_training_in_bfloat16_resumes_to_the_same_weights(tmp_path: Path) -> None:
    plan = replace(SHORT, precision="bfloat16")
    whole, _ = trained(FEW, tmp_path / "whole", "bfloat16")

    def interrupt(done: int, total: int) -> None:
        if done == 2:
            os.kill(os.getpid(), signal.SIGINT)

    cut, batches = tmp_path / "cut", BucketedBatches(FEW, plan.batch_size, plan.seed)
    model = new_model()
    with pytest.raises(KeyboardInterrupt):
        fit(model, batches, classification_loss, plan, checkpoint=cut, progress=interrupt)
    resumed, report = trained(FEW, cut, "bfloat16")
    assert report.steps == 2
    assert torch.equal(flat(whole), flat(resumed))


def test_as_much_is_learned_as_in_float32(tmp_path: Path) -> None:
    right = {}
    for precision in PRECISIONS:
        model, report = trained(TRAIN, tmp_path / precision, precision, PLAN)
        assert report.precision == precision
        answers = classifier_logits(model, DEV, torch.device("cpu")).argmax(-1)
        right[precision] = (answers == DEV.labels).double()
    low, high = (right[name].mean().item() for name in ("bfloat16", "float32"))
    assert high > 0.85
    # Paired over the examples: three standard errors of the difference, and one example for a difference of none.
    difference = right["bfloat16"] - right["float32"]
    assert abs(low - high) <= 3 * difference.std().item() / len(DEV) ** 0.5 + 1 / len(DEV)


def test_within_a_loss_matrices_are_bfloat16_and_what_a_model_returns_is_float32(tmp_path: Path) -> None:
    seen: dict[str, torch.dtype] = {}

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            hidden = self.first(x)
            seen["inside"] = hidden.dtype
            return hidden, self.second(hidden)

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        hidden, logits = model(batch.input_ids.float())
        seen["hidden"], seen["softmax"] = hidden.dtype, logits.log_softmax(-1).dtype
        return F.cross_entropy(logits, batch.labels) + model(batch.input_ids.float())[0].square().mean()

    batch = Batch(torch.ones(3, 4, dtype=torch.long), torch.ones(3, 4), None, torch.zeros(3).long(), torch.arange(3))

    class Source:
        def __len__(self) -> int:
            return 1

        def epoch(self, number: int) -> list[Batch]:
            return [batch]

    model, plan = Two(), replace(SHORT, precision="bfloat16", warmup=0.0)
    before = flat(model)
    fit(model, Source(), loss, plan, checkpoint=tmp_path / "c", progress=lambda *_: None)  # type: ignore[arg-type]
    assert seen == {"inside": torch.bfloat16, "hidden": torch.float32, "softmax": torch.float32}
    assert not torch.equal(before, flat(model))
    assert model(torch.ones(1, 4))[1].dtype == torch.float32
    assert seen["inside"] == torch.float32, "after the training nothing is left of it"
    assert not model._forward_hooks


def test_a_recipe_holds_the_precision_at_hand_and_a_report_the_device(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan = TrainingPlan(1e-3, epochs=1, batch_size=8, seed=0)
    for precision in PRECISIONS:
        monkeypatch.setattr("common.training.loop.training_precision", lambda device, p=precision: p)
        assert plan.recipe()["precision"] == precision
        assert replace(plan, precision="float32").recipe()["precision"] == "float32"
    write_report(tmp_path, FitReport(0.5, 3, 100.0, "cuda", "bfloat16", 2))
    assert json.loads((tmp_path / "training.json").read_text()) == {
        "last_epoch_loss": 0.5,
        "steps": 3,
        "tokens_per_second": 100.0,
        "device": "cuda",
        "precision": "bfloat16",
        "threads": 2,
    }
