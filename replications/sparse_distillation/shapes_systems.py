"""The systems of Table 4 at full size: how large each is, and how it is built with random weights.

Sparse parameters are a model's table of word or n-gram embeddings, of which an example touches a few rows; all others
are dense, position and segment tables included: the printed 51M of RoBERTa-Large and 23M of DistilBERT are their word
tables alone (with the position tables they would print as 52M and 24M).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from common.costs.flops import EncoderShape, classifier_flops
from common.costs.parameters import classifier_parameters, linear_parameters
from common.encoders.shapes import find_shape, random_encoder
from common.models.classifier import EncoderClassifier, PooledClassifier
from replications.sparse_distillation.method import DAN
from replications.sparse_distillation.names import FULL_STUDENT, FULL_TEACHER
from replications.sparse_distillation.students import CNN, BiLSTM, bilstm_dense_parameters, cnn_dense_parameters

CLASSES = 2
"""Sentiment's; the sizes of Table 4 are those of IMDB."""

TEACHER, STUDENT = FULL_TEACHER, FULL_STUDENT


@dataclass(frozen=True)
class Count:
    """Parameters of a system: in its embedding table, and elsewhere."""

    sparse: int
    dense: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.sparse + self.dense


@dataclass(frozen=True)
class Systems:
    """Every system by its name in the paper's tables.

    Attributes:
        encoders: transformers, by the name of their shape. The `TEACHER` is one of them; its word table is where the
            LSTMs and the CNN begin.
        recurrent: hidden size of each LSTM.
        convolutional: filters of each CNN.
        ngrams, dimension: |V| and d_e of the `STUDENT`.
    """

    encoders: Mapping[str, str]
    recurrent: Mapping[str, int]
    convolutional: Mapping[str, int]
    ngrams: int
    dimension: int

    @property
    def names(self) -> tuple[str, ...]:
        """In the order of Table 4."""
        return (*self.encoders, *self.recurrent, *self.convolutional, STUDENT)

    def count(self, name: str) -> Count:
        """The system's parameters, in closed form, with a classifier of `CLASSES` outputs."""
        if name in self.encoders:
            shape = self.encoder_shape(name)
            words = shape.vocabulary * shape.hidden
            return Count(words, classifier_parameters(shape, CLASSES) - words)
        if name == STUDENT:
            hidden = linear_parameters(self.dimension, self.dimension)
            return Count(self.ngrams * self.dimension, hidden + linear_parameters(self.dimension, CLASSES))
        vocabulary, width = self.word_table
        if name in self.recurrent:
            return Count(vocabulary * width, bilstm_dense_parameters(width, self.recurrent[name], CLASSES))
        return Count(vocabulary * width, cnn_dense_parameters(width, CLASSES, self.convolutional[name]))

    def flops(self, name: str, tokens: int) -> int:
        """Multiply-adds times two for a text of `tokens` tokens (the student's own: of its dense layers alone)."""
        if name in self.encoders:
            return classifier_flops(self.encoder_shape(name), tokens, CLASSES)
        return 2 * self.count(name).dense * (1 if name == STUDENT else tokens)

    def encoder_shape(self, name: str) -> EncoderShape:
        """The named transformer's sizes. DistilBERT has no segment table; the module that stands in has one row."""
        shape = EncoderShape.from_config(find_shape(self.encoders[name]).config())
        return replace(shape, type_vocabulary=0) if name == "DistilBERT" else shape

    @property
    def word_table(self) -> tuple[int, int]:
        """Rows and width of the teacher's word embeddings."""
        shape = find_shape(self.encoders[TEACHER])
        return shape.vocab, shape.hidden

    def build(self, name: str, device: str = "cpu") -> nn.Module:
        """The system in evaluation mode; on `meta` nothing is allocated and the weights have no values."""
        with torch.random.fork_rng(devices=[]), torch.device(device):
            torch.default_generator.manual_seed(0)
            return self._built(name, device).eval()

    def _built(self, name: str, device: str) -> nn.Module:
        if name in self.encoders:
            # The classifier brings its own pooler.
            encoder = random_encoder(replace(find_shape(self.encoders[name]), has_pooler=False), device=device)
            return EncoderClassifier(encoder, PooledClassifier(encoder.hidden_size, CLASSES))
        if name == STUDENT:
            return DAN(self.ngrams, self.dimension, CLASSES)
        if name in self.recurrent:
            return BiLSTM(torch.randn(self.word_table), self.recurrent[name], CLASSES)
        return CNN(torch.randn(self.word_table), CLASSES, hidden=self.convolutional[name])


PAPER = Systems(
    encoders={TEACHER: "roberta-large", "DistilBERT": "distilbert-base"},
    recurrent={"LSTM (2l-512d)": 512, "LSTM (2l-256d)": 256, "LSTM (2l-64d)": 64, "LSTM (2l-4d)": 4},
    # The text says 128 filters; the label, and the 2M dense parameters beside it, say 256.
    convolutional={"CNN (1l-256d)": 256},
    ngrams=1_000_000,
    dimension=1_000,
)


@dataclass(frozen=True)
class Drawn:
    """Systems that are built when first asked for, and kept: a table of a billion numbers takes seconds to draw."""

    systems: Systems
    _models: dict[str, nn.Module] = field(default_factory=dict)

    def model(self, name: str) -> nn.Module:
        """The named system, on the CPU."""
        if name not in self._models:
            self._models[name] = self.systems.build(name)
        return self._models[name]

    @property
    def missing(self) -> tuple[str, ...]:
        """The systems that were not built yet."""
        return tuple(name for name in self.systems.names if name not in self._models)

    def student(self) -> DAN:
        """The `STUDENT`."""
        model = self.model(STUDENT)
        assert isinstance(model, DAN)
        return model

    def pair_student(self) -> DAN:
        """The student for pairs of texts, on the same table: only its first dense layer is another."""
        size, dimension = self.student().table.shape
        with torch.device("meta"):
            model = DAN(size, dimension, CLASSES, pair=True)
        model.table = self.student().table
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            for layer in model.layers.to_empty(device="cpu"):
                _linear(layer).reset_parameters()
        return model.eval()

    def forget(self, name: str) -> None:
        """Let go of the named system's memory."""
        self._models.pop(name, None)


def _linear(layer: nn.Module | Tensor) -> nn.Linear:
    assert isinstance(layer, nn.Linear)
    return layer
