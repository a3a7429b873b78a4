"""What layers make of a passage when the question changes (figure 2), and how far DeFormer is from the full model.

Figure 2 is of the full model, figure 5 of both, layer by layer on the same tokens.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from common.training.segments import TwoSegmentBatch, TwoSegmentSplit
from replications.deformer.method import DeFormer

QUESTIONS = 5
"""On each passage."""

PASSAGES, PAIRS = 100, 500
"""Of figure 2, and question-passage pairs of figure 5."""


@torch.inference_mode()
def layer_states(model: DeFormer, batch: TwoSegmentBatch) -> list[Tensor]:
    """The states after layers 1..n, each (B, L, H), both segments in a row."""
    apart: list[list[Tensor]] = []
    ends = []
    for segment in (batch.first, batch.second):
        h, mask = model.embed(segment)
        states = []
        for i in range(1, model.k + 1):
            h = model.encoder.layer(i, h, mask)
            states.append(h)
        apart.append(states)
        ends.append(h)
    lower = [torch.cat([a, b], dim=1) for a, b in zip(*apart, strict=True)]
    return lower + model.upper(ends[0], ends[1], batch.attention_mask).states


def asked_of_others(split: TwoSegmentSplit, rows: Sequence[int], seed: int = 0) -> list[TwoSegmentBatch]:
    """For each row its passage with `QUESTIONS` different questions, its own first and others drawn from the split."""
    draw, batches = random.Random(seed), []
    for row in rows:
        own = split.first_ids[row]
        others = sorted({ids for ids in split.first_ids if ids != own})
        asked = (own, *draw.sample(others, min(QUESTIONS - 1, len(others))))
        several = TwoSegmentSplit(
            asked,
            (split.second_ids[row],) * len(asked),
            torch.zeros(len(asked), 2, dtype=torch.long),
            split.padding_id,
            split.layout,
        )
        batches.append(several.batch(range(len(asked))))
    return batches


def question_variance(states: Tensor) -> float:
    """Share of a passage's variance that is due to the question: states (Q, L, H) of one passage under Q questions.

    The variance over questions at each token, over the variance of all Q L vectors around their mean; both are means
    over tokens and dimensions. 0 where the question changes nothing.
    """
    states = states.double()
    total = (states - states.mean((0, 1), keepdim=True)).square().mean()
    over_questions = (states - states.mean(0, keepdim=True)).square().mean()
    return float(over_questions / total) if total > 0 else 0.0


def variance_by_layer(model: DeFormer, split: TwoSegmentSplit, rows: Sequence[int]) -> NDArray[np.float64]:
    """(P, n) `question_variance` of each passage after each layer."""
    device = next(model.parameters()).device
    found = []
    for batch in asked_of_others(split, rows):
        text = batch.second_text[0]
        states = layer_states(model, batch.to(device))
        found.append([question_variance(h[:, text.to(device)].cpu()) for h in states])
    return np.array(found)


def distance_by_layer(
    model: DeFormer, teacher: DeFormer, split: TwoSegmentSplit, rows: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean cosine distance of two models' states, of passage and of question tokens: two (pairs, n) arrays."""
    device = next(model.parameters()).device
    passage, question = [], []
    for row in rows:
        batch = split.batch([row]).to(device)
        text, asked = batch.second_text[0], batch.attention_mask[0].bool() & ~_second(batch)
        pairs = zip(layer_states(model, batch), layer_states(teacher, batch), strict=True)
        distances = [1 - F.cosine_similarity(u[0].float(), v[0].float(), dim=-1) for u, v in pairs]
        passage.append([float(d[text].mean()) for d in distances])
        question.append([float(d[asked].mean()) for d in distances])
    return np.array(passage), np.array(question)


def _second(batch: TwoSegmentBatch) -> Tensor:
    """(L,) True on the second segment."""
    first = batch.first.input_ids.shape[1]
    return torch.arange(batch.attention_mask.shape[1], device=batch.attention_mask.device) >= first
