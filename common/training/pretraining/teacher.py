"""A teacher with a language-model head, for an encoder that comes without one.

MiniLM's and MPNet's wheels hold encoders alone, tuned to embed sentences: at a masked position they no longer know much
of the word (a head trained on their states as they are hardly beats word counts). So encoder and head are trained
together, as masked-language models are, from the encoder's weights; the encoder that every method starts from is left
as it was. A published checkpoint that has a head brings its own, and nothing is trained.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from common.costs.flops import EncoderShape
from common.devices import available_device
from common.encoders.checkpoints import WEIGHTS
from common.encoders.hub import fetch_snapshot
from common.encoders.layered import LayeredEncoder
from common.encoders.sources import PretrainedEncoder
from common.records.measurements import write_json
from common.run.replication import Run
from common.tasks.corpora import Corpus, find_corpus
from common.training.loop import TrainingPlan
from common.training.pretraining.batches import MaskedBatch, MaskedBatches
from common.training.pretraining.encoded import EncodedText, encoded_text
from common.training.pretraining.language_model import (
    LanguageHead,
    MaskedLanguageModel,
    language_loss,
    published_head,
)
from common.training.pretraining.masking import Masking, Uniform
from common.training.pretraining.pretrainer import Pretrainer, Work, encoder_work, head_work
from common.training.pretraining.rows import PackedRows, held_out
from common.training.pretraining.scoring import MaskedScore, masked_score
from common.training.pretraining.words import Words

SCORE = "score.json"


@dataclass(frozen=True)
class TeacherRecipe:
    """How an encoder becomes a masked-language model at a scale, where none is published: one for all papers.

    Attributes:
        words: of plain text (None: all there is); a paper that reads more trains on more with the same teacher.
        plan: of the training; `max_length` is the length of a row.
    """

    words: int | None
    plan: TrainingPlan


TEACHERS: Mapping[str, TeacherRecipe] = {
    "smoke": TeacherRecipe(
        3_000, TrainingPlan(2e-3, epochs=3, batch_size=16, seed=0, max_length=32, precision="float32")
    ),
    "mini": TeacherRecipe(60_000, TrainingPlan(5e-4, epochs=1, batch_size=16, seed=0, warmup=0.1, max_length=64)),
    "base": TeacherRecipe(1_000_000, TrainingPlan(1e-4, epochs=1, batch_size=32, seed=0, warmup=0.1, max_length=128)),
    "paper": TeacherRecipe(1_000_000, TrainingPlan(1e-4, epochs=1, batch_size=32, seed=0, warmup=0.1, max_length=128)),
}
"""By scale. The paper scale's encoders bring heads of their own."""


@dataclass(frozen=True)
class Reading:
    """How a text is read: what is trained on, and what is held back to score on.

    Attributes:
        text: the corpus.
        words: its vocabulary.
        length: tokens of a row.
    """

    text: EncodedText
    words: Words
    length: int

    def batches(self, masking: Masking | None, batch_size: int, seed: int) -> MaskedBatches:
        """Of the part to train on."""
        return MaskedBatches(held_out(self._rows)[0], self.words, masking, batch_size, seed)

    def held_back(self, batch_size: int = 32) -> MaskedBatches:
        """Of the part to score on, masked uniformly and alike for every model."""
        return MaskedBatches(held_out(self._rows)[1], self.words, Uniform(), batch_size, seed=0)

    def score(self, logits: Callable[[MaskedBatch], Tensor]) -> MaskedScore:
        """How well (M, V) logits at masked positions guess what was held back."""
        return masked_score(logits, self.held_back().epoch(0), self.text.counts, available_device())

    @property
    def facts(self) -> dict[str, object]:
        """For an artifact's key."""
        return {"text": self.text.fingerprint, "length": self.length}

    @property
    def _rows(self) -> PackedRows:
        return PackedRows(self.text, self.words, self.length)


@dataclass(frozen=True)
class LanguageTeacher:
    """A pre-trained encoder made a masked-language model.

    Attributes:
        source: the encoder that it starts from.
        reading: what it is trained on, where it has to be.
        plan: of its training.
        pretrainer: trains and keeps it.
    """

    source: PretrainedEncoder
    reading: Reading
    plan: TrainingPlan
    pretrainer: Pretrainer

    def model(self) -> MaskedLanguageModel:
        """Encoder and head, in evaluation mode, nothing of it trainable, on the CPU; a copy of its own."""
        head = self._published
        model = MaskedLanguageModel.load(self.folder()) if head is None else MaskedLanguageModel(self._copy, head)
        return model.eval().requires_grad_(False)

    @property
    def score(self) -> MaskedScore:
        """On text held back."""
        if self._published is None:
            return MaskedScore(**json.loads((self.folder() / SCORE).read_text(encoding="utf-8")))
        return self.reading.score(self.model().to(available_device()))

    @property
    def fingerprint(self) -> str:
        """Identifies encoder and head."""
        own = "own head" if self._published is not None else self.folder().name
        return f"{self.source.fingerprint}:{own}"

    @property
    def _published(self) -> LanguageHead | None:
        folder = _checkpoint_folder(self.source.name)
        return None if folder is None else published_head(folder, self.source.encoder)

    @property
    def _copy(self) -> LayeredEncoder:
        return self.source.encoder.first_layers(self.source.encoder.num_layers)

    def folder(self) -> Path:
        """The trained model, and its score."""
        reading, plan, shape = self.reading, self.plan, EncoderShape.from_config(self.source.encoder.config)
        flops = encoder_work(shape, reading.length, trained=True) + head_work(shape, Uniform().share, trained=True)

        def fresh() -> MaskedLanguageModel:
            encoder = self._copy
            return MaskedLanguageModel(
                encoder, LanguageHead.fresh(encoder, plan.seed, torch.from_numpy(reading.text.counts))
            )

        def finish(model: MaskedLanguageModel, folder: Path) -> None:
            score = reading.score(model)
            self.pretrainer.say(f"{self.source.backbone} as a masked-language model {score.sentence}")
            write_json(folder / SCORE, asdict(score))

        return self.pretrainer.trained(
            "language-teacher",
            {"encoder": self.source.fingerprint, **reading.facts},
            fresh,
            lambda: reading.batches(Uniform(), plan.batch_size, plan.seed),
            language_loss,
            plan,
            Work(flops, shape),
            finish=finish,
        )


def _checkpoint_folder(name: str) -> Path | None:
    """Where the checkpoint of an encoder lies, if it is a folder or on the hub; None for wheels and random draws."""
    folder = Path(name).expanduser()
    if (folder / WEIGHTS).is_file():
        return folder
    if "/" not in name:
        return None
    repository, _, revision = name.partition("@")
    return fetch_snapshot(repository, revision or None)


def language_teacher(run: Run, backbone: str, corpus: Corpus | None = None) -> LanguageTeacher:
    """The teacher of a run: one for a scale, a text and a backbone, shared by every paper.

    Args:
        run: whose scale, data and store.
        backbone: name of the encoder.
        corpus: what it reads; by default the source's plain text.

    Raises:
        UserError: there is no such encoder, or no plain text.
    """
    recipe, source = TEACHERS[run.scale.name], run.encoder(backbone)
    found = corpus or find_corpus(run.data, run.data_dir, recipe.words, smoke=run.scale.name == "smoke")
    text = encoded_text(run.store, found, source.tokenizer, run.say)
    reading = Reading(text, Words.of(source.tokenizer), recipe.plan.max_length)
    return LanguageTeacher(source, reading, recipe.plan, Pretrainer.of(run))
