"""What is trained for one task and one seed.

The big model is the plain fine-tuned classifier, which is also the baseline. Before it stands a complete small model,
fine-tuned with difficulty-aware regularisation; beside it the same without, a deeper complete model, the big encoder's
first k layers fine-tuned alone, and the exits of DeeBERT and PABEE. Everyone's logits are collected once: any threshold
is a simulation on them. All of it is kept in the artifact store and made when first asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from common.early_exit.baselines import StaticTrial
from common.early_exit.runtime import collect_logits
from common.errors import UserError
from common.replication import Run
from common.tasks.task import Task
from common.timing.estimates import forward_seconds
from common.timing.flops import EncoderShape
from common.timing.parameters import layer_parameters
from common.training.batches import BucketedBatches, EncodedSplit
from common.training.classifier import EncoderClassifier, classifier_logits
from common.training.finetune import FineTuner, classification_loss, new_classifier, write_report
from common.training.frozen import FrozenBatches, frozen_states
from common.training.loop import TrainingPlan, fit
from replications.cascadebert.complete import CompleteEncoders, with_kept_embeddings
from replications.cascadebert.difficulty import hard_unless_always_right
from replications.cascadebert.method import Cascade, calibrated_loss, require_same_words
from replications.cascadebert.rivals import (
    MultiExit,
    adamw_with_heads_at,
    fresh_heads,
    load_heads,
    off_ramp_loss,
    patient_model,
    save_heads,
    weighted_loss,
    with_off_ramps,
)
from replications.cascadebert.settings import ONE_COMPLETE_MODEL, SETTINGS, Settings


def complete_encoders(run: Run) -> CompleteEncoders:
    """The run's complete small encoders, shared by its tasks and seeds."""
    settings = SETTINGS[run.scale.name]
    return CompleteEncoders(run, settings.encoder, settings.small, settings.published, settings.pretraining)


# -- One task, one seed -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answers:
    """What the models answer on one split of N examples, with C classes.

    Attributes:
        labels: (N,) class indices.
        calibrated: (N, C) of the complete small model with difficulty-aware regularisation.
        complete: (N, C) of the plain complete models by depth.
        deebert, pabee: (N, n, C) of their exits. DeeBERT's last one is the big model.
        truncated: (N, C) of the big encoder's fine-tuned first layers by depth; on dev alone.
    """

    labels: NDArray[np.int64]
    calibrated: Tensor
    complete: dict[int, Tensor]
    deebert: Tensor
    pabee: Tensor
    truncated: dict[int, Tensor]

    @property
    def big(self) -> Tensor:
        """(N, C) of the big model alone: the baseline."""
        return self.deebert[:, -1]


@dataclass(frozen=True)
class Estimate:
    """Expected seconds of a trial's steps on two CPU cores; of shallow models by depth."""

    big: float
    complete: dict[int, float]
    truncated: dict[int, float]
    labels: float
    off_ramps: float
    logits: float
    timing: float


@dataclass
class Trial(StaticTrial):
    """The models of one task and seed, trained when first asked for."""

    complete: CompleteEncoders

    @cached_property
    def settings(self) -> Settings:
        """The run's scale decides the hyper-parameters, the trial the seed."""
        return SETTINGS[self.run.scale.name].of(self.task_name, self.seed)

    @property
    def encoder_name(self) -> str:
        """The scale's big encoder."""
        return self.settings.encoder

    @property
    def pooling(self) -> str:
        """That of the scale, for the cascade's models and the rivals alike."""
        return self.settings.pooling

    @property
    def classifier_plan(self) -> TrainingPlan:
        """Of the big model."""
        return self.settings.plan

    @property
    def task(self) -> Task:
        """The data.

        Raises:
            UserError: it is a regression, which has no confidence.
        """
        task = self.run.task(self.task_name)
        if task.is_regression:
            raise UserError(
                f"a cascade passes on by confidence, which needs classes; {task.name} is a regression. "
                "Drop it from TASKS"
            )
        return task

    @property
    def first(self) -> int:
        """Depth of the paper's small model: a sixth of the big one's, where there are enough layers."""
        return self.settings.small[0]

    @property
    def second(self) -> int | None:
        """Depth of the next larger complete model, which a second cascade starts with; None where there is none."""
        return self.small[1] if len(self.small) > 1 else None

    @property
    def small(self) -> tuple[int, ...]:
        """Depths of the complete models; where the scale spares, further seeds and some tasks have the first alone."""
        spared = self.seed != self.run.seeds[0] or self.task_name in ONE_COMPLETE_MODEL
        return self.settings.small[:1] if spared and self.run.scale.spares else self.settings.small

    @property
    def truncations(self) -> tuple[int, ...]:
        """Depths k of the big encoder's fine-tuned first layers: at the compared depths, and for each printed speed."""
        return tuple(sorted({*self.settings.truncated, *(self.layers_at(s) for s in (2, 3, 4))}))

    def twelfths(self, depth: int) -> float:
        """A depth as the paper counts, in twelfths of the big model's layers."""
        return 12 * depth / self.num_layers

    def layers_at(self, speedup: float) -> int:
        """The fewest layers that are no faster than `speedup`: of a half layer the rival gets all."""
        return max(1, int(np.ceil(self.num_layers / speedup)))

    @property
    def estimate(self) -> Estimate:
        """From tokens and layer parameters, at rates measured on two cores."""
        scale, static, settings, train = self.run.scale, self.static_costs, self.settings, self.task.train
        layer = layer_parameters(self.shape)
        moved, kept = (seconds * len(train) / settings.plan.batch_size for seconds in (0.05, 0.015))
        epoch = (static.classifier - 2) / settings.plan.epochs - moved
        shallow = {k: kept + epoch * k / self.num_layers for k in range(1, self.num_layers)}
        complete = {k: 2 + settings.complete_plan.epochs * seconds for k, seconds in shallow.items()}
        evaluated = self.tokens((*self.task.tune, *self.task.dev))
        models = 2 * self.num_layers + sum(self.small) + self.first + 0.6 * sum(self.truncations)
        features = forward_seconds(self.num_layers * layer, self.tokens(train))
        return Estimate(
            big=static.classifier,
            complete=complete,
            truncated={k: 2 + settings.truncated_plan.epochs * seconds for k, seconds in shallow.items()},
            labels=settings.labels.seeds * (settings.labels.folds - 1) * complete[self.first] + 2,
            off_ramps=2 + features + 0.004 * settings.off_ramps.epochs * len(train) / settings.off_ramps.batch_size,
            logits=3 + 1.2 * forward_seconds(round(models * layer), evaluated),
            timing=5 + 10 * scale.timing_examples * scale.timing_rounds * static.sample,
        )

    # -- The cascade's models -----------------------------------------------------------------------------------------

    def complete_tuner(self, depth: int) -> FineTuner:
        """Plain fine-tuning of the complete encoder of `depth` layers."""
        source = self.complete.source(depth)
        require_same_words(source.tokenizer, self.source.tokenizer)
        return FineTuner(self.run.store, source, self.run.say, self.run.progress, self.pooling)

    def complete_folder(self, depth: int) -> Path:
        """The complete model of `depth` layers, fine-tuned without regularisation."""
        return self.complete_tuner(depth).fine_tune(self.task, self.encoded, self.settings.complete_plan, depth)

    def truncated_folder(self, depth: int) -> Path:
        """BERT-kL: the big encoder's first `depth` layers, fine-tuned by a plan of their own."""
        source = self.source if self.complete.published else with_kept_embeddings(self.source)
        tuner = FineTuner(self.run.store, source, self.run.say, self.run.progress, self.pooling)
        return tuner.fine_tune(self.task, self.encoded, self.settings.truncated_plan, depth)

    def truncated(self, depth: int) -> EncoderClassifier:
        """BERT-kL, on the device."""
        model: EncoderClassifier = EncoderClassifier.load(self.truncated_folder(depth)).to(self.device)
        return model

    def labels_folder(self) -> Path:
        """Difficulty labels of the training examples, for the first small model; all training seeds share them."""
        ways, tuner = self.settings.labels, self.complete_tuner(self.first)
        plan = replace(self.settings.complete_plan, seed=0)

        def make(folder: Path) -> None:
            right = [torch.zeros(len(self.encoded.train), dtype=torch.bool) for _ in range(ways.seeds)]
            for done, (seed, fold) in enumerate(ways.parts):
                part = folder / "checkpoint" / f"part-{seed}-{fold}"
                part.mkdir(parents=True, exist_ok=True)
                held = ways.held_out(seed, fold, len(self.encoded.train))
                right[seed][held] = self._right_when_held_out(part, seed, fold)
                self.run.progress(done + 1, len(ways.parts))
            save_file({"hard": hard_unless_always_right(right).to(torch.uint8)}, folder / "labels.safetensors")

        recipe = {
            **tuner.recipe(self.task, plan, self.first),
            "kind": "cascadebert-difficulty",
            "pooling": self.pooling,
            "cv_seeds": ways.seeds,
            "folds": ways.folds,
        }
        return self.run.store.get(f"cascadebert/difficulty/{self.task_name}", recipe, make, self.run.say)

    def _right_when_held_out(self, part: Path, seed: int, fold: int) -> Tensor:
        """(held,) whether the small model, trained on the other folds, answers right; kept in `part` until the end."""
        answers, train = part / "right.safetensors", self.encoded.train
        if not answers.exists():
            ways, plan = self.settings.labels, replace(self.settings.complete_plan, seed=seed)
            rest = rows_of(train, ways.trained_on(seed, fold, len(train)))
            held = rows_of(train, ways.held_out(seed, fold, len(train)))
            model = self._new_small(seed)
            batches = BucketedBatches(rest, plan.batch_size, seed)
            checkpoint = part / "loop.safetensors"
            fit(model, batches, classification_loss, plan, checkpoint=checkpoint, progress=lambda done, total: None)
            logits = classifier_logits(model.eval(), held, self.device)
            save_file({"right": (logits.argmax(-1) == held.labels).to(torch.uint8)}, answers)
            checkpoint.unlink(missing_ok=True)
        right: Tensor = load_file(answers)["right"]
        return right.bool()

    @cached_property
    def hard(self) -> Tensor:
        """(N,) booleans over the training examples."""
        labels: Tensor = load_file(self.labels_folder() / "labels.safetensors")["hard"]
        return labels.bool()

    def _new_small(self, seed: int) -> EncoderClassifier:
        """The first complete encoder with a fresh head."""
        encoder = self.complete.source(self.first).encoder.first_layers(self.first)
        return new_classifier(encoder, self.task, seed, self.pooling)

    def calibrated_folder(self) -> Path:
        """The first small model, fine-tuned with difficulty-aware regularisation."""
        plan, margin, weight = self.settings.complete_plan, self.settings.margin, self.settings.weight
        labels, tuner = self.labels_folder(), self.complete_tuner(self.first)

        def make(folder: Path) -> None:
            model = self._new_small(plan.seed)
            batches = BucketedBatches(self.encoded.train, plan.batch_size, plan.seed)
            loss = calibrated_loss(self.hard, margin, weight)
            checkpoint = folder / "checkpoint" / "loop.safetensors"
            report = fit(model, batches, loss, plan, checkpoint=checkpoint, progress=self.run.progress)
            model.cpu().save(folder)
            write_report(folder, report)

        plain = tuner.recipe(self.task, plan, self.first)
        recipe = {
            **plain,
            "kind": "cascadebert-small",
            "pooling": self.pooling,
            "labels": labels.name,
            "margin": margin,
            "weight": weight,
        }
        name = f"cascadebert/small/{self.source.name}/{self.task_name}/seed{self.seed}"
        return self.run.store.get(name, recipe, make, self.run.say)

    def cascade(self) -> Cascade:
        """The paper's: the calibrated small model before the big one, on the device, in evaluation mode."""
        return self._cascade(self.calibrated_folder())

    def second_cascade(self) -> Cascade:
        """The next larger complete model, where there is one, not calibrated, before the big one."""
        return self._cascade(self.complete_folder(self.small[1]))

    def _cascade(self, small: Path) -> Cascade:
        models = [EncoderClassifier.load(small), self.classifier(self.num_layers)]
        return Cascade(models).to(self.device).eval()

    # -- The rivals ---------------------------------------------------------------------------------------------------

    def off_ramps_folder(self) -> Path:
        """DeeBERT's second stage, on the frozen big model."""
        plan = self.settings.off_ramps

        def make(folder: Path) -> None:
            states = frozen_states(self.classifier(self.num_layers), self.encoded.train, self.device)
            off_ramps = fresh_heads(self.source.encoder, len(self.task.labels), plan.seed, self.num_layers - 1)
            batches = FrozenBatches(states, plan.batch_size, plan.seed)
            checkpoint = folder / "checkpoint" / "loop.safetensors"
            report = fit(off_ramps, batches, off_ramp_loss, plan, checkpoint=checkpoint, progress=self.run.progress)
            save_heads(off_ramps.cpu(), folder / "off_ramps.safetensors", self.pooling)
            write_report(folder, report)

        backbone = self.tuner.recipe(self.task, self.settings.plan, self.num_layers)
        name = f"cascadebert/off-ramps/{self.source.name}/{self.task_name}/seed{self.seed}"
        recipe = {"kind": "cascadebert-off-ramps", "backbone": backbone, **plan.recipe()}
        return self.run.store.get(name, recipe, make, self.run.say)

    def deebert(self) -> MultiExit:
        """DeeBERT on the big model."""
        off_ramps, _ = load_heads(self.off_ramps_folder() / "off_ramps.safetensors")
        return with_off_ramps(self.classifier(self.num_layers), off_ramps).to(self.device)

    def pabee_folder(self) -> Path:
        """PABEE: encoder and exits trained together."""
        plan, rate = self.settings.plan, self.settings.exits_rate

        def make(folder: Path) -> None:
            model = patient_model(self.source.encoder, len(self.task.labels), plan.seed, self.pooling)
            batches = BucketedBatches(self.encoded.train, plan.batch_size, plan.seed)
            report = fit(
                model,
                batches,
                weighted_loss,
                plan,
                checkpoint=folder / "checkpoint" / "loop.safetensors",
                progress=self.run.progress,
                make_optimizer=adamw_with_heads_at(rate),
            )
            model.cpu().save(folder)
            write_report(folder, report)

        plain = self.tuner.recipe(self.task, plan, self.num_layers)
        recipe = {**plain, "kind": "cascadebert-pabee", "pooling": self.pooling, "rate": rate}
        name = f"cascadebert/pabee/{self.source.name}/{self.task_name}/seed{self.seed}"
        return self.run.store.get(name, recipe, make, self.run.say)

    def pabee(self) -> MultiExit:
        """PABEE, on the device, in evaluation mode."""
        return MultiExit.load(self.pabee_folder()).to(self.device)

    # -- Everyone's answers -------------------------------------------------------------------------------------------

    def logits_folder(self) -> Path:
        """Everyone's logits on tune and dev."""
        models = self._classifiers()
        exits = {"deebert": self.off_ramps_folder(), "pabee": self.pabee_folder()}

        def make(folder: Path) -> None:
            tensors = {}
            for split, data in (("tune", self.encoded.tune), ("dev", self.encoded.dev)):
                for name, load in {"deebert": self.deebert, "pabee": self.pabee}.items():
                    tensors[f"{split}.{name}"] = collect_logits(load(), data.by_length(64), len(data), self.device)
                for name, path in models.items():
                    if split == "dev" or not name.startswith("truncated"):
                        model = EncoderClassifier.load(path).to(self.device)
                        tensors[f"{split}.{name}"] = classifier_logits(model, data, self.device)
            save_file(tensors, folder / "logits.safetensors")

        recipe = {
            "kind": "cascadebert-logits",
            "models": {name: path.name for name, path in {**models, **exits}.items()},
            "big": self.classifier_folder(self.num_layers).name,
        }
        name = f"cascadebert/logits/{self.source.name}/{self.task_name}/seed{self.seed}"
        return self.run.store.get(name, recipe, make, self.run.say)

    def _classifiers(self) -> dict[str, Path]:
        """Every model with one answer, but the big one."""
        models = {"calibrated": self.calibrated_folder()}
        models |= {f"complete.{k}": self.complete_folder(k) for k in self.small}
        models |= {f"truncated.{k}": self.truncated_folder(k) for k in self.truncations}
        return models

    @cached_property
    def _logits(self) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = load_file(self.logits_folder() / "logits.safetensors")
        return tensors

    def answers(self, split: str) -> Answers:
        """Everyone's answers on `tune` or `dev`."""
        found = {name.removeprefix(f"{split}."): t for name, t in self._logits.items() if name.startswith(split)}
        data = self.encoded.tune if split == "tune" else self.encoded.dev
        return Answers(
            labels=data.labels.numpy(),
            calibrated=found["calibrated"],
            complete=_by_depth(found, "complete."),
            deebert=found["deebert"],
            pabee=found["pabee"],
            truncated=_by_depth(found, "truncated."),
        )

    def small_shape(self, depth: int) -> EncoderShape:
        """The sizes of the complete model of `depth` layers."""
        return EncoderShape.from_config(self.complete.source(depth).encoder.config)


def rows_of(split: EncodedSplit, rows: list[int]) -> EncodedSplit:
    """The examples at `rows` as a split of their own."""
    types = split.token_type_ids
    return EncodedSplit(
        input_ids=tuple(split.input_ids[row] for row in rows),
        token_type_ids=None if types is None else tuple(types[row] for row in rows),
        labels=split.labels[rows],
        padding_id=split.padding_id,
    )


def _by_depth(tensors: dict[str, Tensor], prefix: str) -> dict[int, Tensor]:
    return {int(name.removeprefix(prefix)): t for name, t in tensors.items() if name.startswith(prefix)}
