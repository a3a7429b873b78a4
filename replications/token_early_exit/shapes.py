"""BERT-base under token-level exits at full size, random weights: what it adds, what it spends, what the clock says.

How many pieces are active at each layer is imposed, so that FLOPs are known exactly and time alone is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from common.costs.flops import EncoderShape, layer_flops, linear_flops
from common.costs.parameters import encoder_parameters, linear_parameters, pooler_parameters
from common.early_exit.clock import BASELINE, on_item
from common.early_exit.imposed import shape_of, timed_against_baseline
from common.encoders.shapes import find_shape, random_encoder
from common.models.tagger import EncoderTagger
from common.records.measurements import Measurement
from common.rows import ShapeRows
from common.run.replication import Run, Step
from common.timing.paired import CONTROL, PairedTimings
from common.training.word_pieces import NO_WORD, TaggedBatch
from replications.token_early_exit.method import TokenExits
from replications.token_early_exit.names import TOKEE
from replications.token_early_exit.runtime import run_token_exits, spent_flops

BACKBONE = "bert-base"
TAGS = 9
"""CoNLL-2003's: O, and B and I of four types."""

TOKENS = 128
LAST_SHARES = {"all stay": 1.0, "to a half": 0.5, "to a tenth": 0.1}
"""The share of pieces that are active falls linearly from 1 at the first layer to this at the last."""

BATCHES = {1: ("all stay", "to a half", "to a tenth"), 32: ("to a tenth",)}
"""What is timed in batches of each size."""

SAMPLES = {1: 16, 32: 4}
ROUNDS = {1: 2, 32: 1}


def shape_steps(run: Run) -> list[Step]:
    """Sizes, then the clock."""
    clock = [
        Step(
            f"{BACKBONE}: imposed shares of active pieces, batches of {size}",
            35.0 if size == 1 else 90.0,
            partial(imposed, size),
        )
        for size in BATCHES
    ]
    return [Step("sizes: classifiers in parameters and FLOPs", 1.0, sizes), *clock]


# -- Closed forms -----------------------------------------------------------------------------------------------------


def tagger_parameters(shape: EncoderShape, tags: int) -> int:
    """Of the plain tagger: the encoder without its pooler, and one classifier."""
    unused = pooler_parameters(shape) if shape.pooler else 0
    return encoder_parameters(shape) - unused + linear_parameters(shape.hidden, tags)


def sizes() -> list[Measurement]:
    """What the classifiers add, and how much of a layer is left where no piece is active."""
    shape, row = shape_of(BACKBONE), ShapeRows(TOKEE)
    added = (shape.layers - 1) * linear_parameters(shape.hidden, TAGS)
    layer = layer_flops(shape, TOKENS)
    head = linear_flops(shape.hidden, TAGS, rows=TOKENS - 2)
    linear = layer - 2 * linear_flops(shape.hidden, TOKENS, rows=TOKENS)
    values = {
        "tagger_parameters": (tagger_parameters(shape, TAGS), "count"),
        "exit_parameters": (added, "count"),
        "exit_parameter_share": (added / tagger_parameters(shape, TAGS), "fraction"),
        "exit_flops_share": (head / layer, "fraction"),
        "idle_layer_share": (layer_flops(shape, TOKENS, active=0) / linear, "fraction"),
    }
    note = f"{TOKENS} pieces, {TAGS} tags"
    return [row("sizes", BACKBONE, metric, float(value), unit, note=note) for metric, (value, unit) in values.items()]


# -- Imposed exits ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ImposedWords:
    """Words leave at layers given in advance, (W,), the same in every sentence."""

    layers: Tensor

    def __call__(self, u: Tensor, is_word: Tensor, active: Tensor, i: int, n: int) -> Tensor:
        """Who leaves after layer i."""
        return active & (self.layers <= i)

    def exits(self, u: Tensor, is_word: Tensor) -> Tensor:
        """As imposed."""
        return self.layers.expand(is_word.shape)


def active_pieces(layers: int, tokens: int, last_share: float) -> list[int]:
    """How many pieces are active at each layer, [CLS] and [SEP] among them: falling linearly to a share of them all."""
    shares = np.linspace(1.0, last_share, layers)
    return [max(2, round(tokens * share)) for share in shares.tolist()]


def imposed_layers(active: list[int], seed: int = 0) -> Tensor:
    """(W,) layers at which words of one piece each leave so that so many pieces are active; which ones is random."""
    words = active[0] - 2
    rank = torch.randperm(words, generator=torch.Generator().manual_seed(seed))
    return torch.stack([rank < pieces - 2 for pieces in active]).sum(0)


def random_sentences(size: int, tokens: int, vocabulary: int, seed: int) -> TaggedBatch:
    """`size` sentences of `tokens` - 2 words of one piece each, random, nothing padded."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, vocabulary, (size, tokens), generator=generator)
    words = torch.arange(tokens - 2).expand(size, -1)
    word_of = torch.full((size, tokens), NO_WORD)
    word_of[:, 1:-1] = words
    return TaggedBatch(ids, torch.ones_like(ids), words + 1, word_of, torch.zeros_like(words), torch.arange(size))


@dataclass(frozen=True)
class Bench:
    """A random backbone as plain tagger and with a classifier after every layer."""

    plain: EncoderTagger
    model: TokenExits
    shape: EncoderShape

    @staticmethod
    def of(name: str) -> Bench:
        """Draw the named architecture."""
        encoder = random_encoder(name, seed=0)
        shape = EncoderShape.from_config(find_shape(name).config())
        return Bench(EncoderTagger.fresh(encoder, TAGS, 0).eval(), TokenExits.fresh(encoder, TAGS, 0).eval(), shape)

    def flops_speedup(self, tokens: int, active: list[int]) -> float:
        """FLOPs of the plain tagger over those spent."""
        words = tokens - 2
        full = self.shape.layers * layer_flops(self.shape, tokens) + linear_flops(self.shape.hidden, TAGS, rows=words)
        spent = spent_flops(self.shape, TAGS, np.array([tokens]), np.array([words]), np.array([active]))
        return float(full / spent.sum())

    def timed(self, plans: Mapping[str, list[int]], size: int, samples: int, *, rounds: int = 2) -> PairedTimings:
        """Every plan against the plain tagger, interleaved, in batches of `size`."""
        batches = [random_sentences(size, TOKENS, self.shape.vocabulary, seed) for seed in range(samples)]
        arms: dict[str, Callable[[int], object]] = {BASELINE: on_item(self.plain, batches)}  # type: ignore[arg-type]
        for name, active in plans.items():
            rule = ImposedWords(imposed_layers(active))
            arms[name] = lambda item, rule=rule: run_token_exits(self.model, batches[item], rule)  # type: ignore[misc]
        return timed_against_baseline(arms, samples, rounds=rounds, warmup=1)


def imposed(size: int) -> list[Measurement]:
    """FLOPs and time, each as the plain tagger's over the method's, and how much of the one the other is."""
    bench, row = Bench.of(BACKBONE), ShapeRows(TOKEE)
    plans = {name: active_pieces(bench.shape.layers, TOKENS, LAST_SHARES[name]) for name in BATCHES[size]}
    timings = bench.timed(plans, size, SAMPLES[size], rounds=ROUNDS[size])
    rows = []
    for name, active in plans.items():
        at = {"setting": f"{name}, batch {size}", "at": LAST_SHARES[name]}
        flops, speedup = bench.flops_speedup(TOKENS, active), timings.speedup(name)
        rows.append(row("imposed", BACKBONE, "flops_speedup", flops, "ratio", **at))
        rows.append(row("imposed", BACKBONE, "time_speedup", speedup, "ratio", timed=True, **at))
        rows.append(row("imposed", BACKBONE, "share_of_flops_speedup", speedup.over(flops), "ratio", timed=True, **at))
    how = {"system": CONTROL, "setting": f"batch {size}", "timed": True}
    return [*rows, row("imposed", BACKBONE, "time_speedup", timings.speedup(CONTROL), "ratio", **how)]
