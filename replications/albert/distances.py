"""Figure 1: how far each layer moves its input, with shared layers and with layers of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from common.devices import available_device
from common.records.measurements import Measurement
from common.rows import Rows
from replications.albert.method import Encoder, sharing
from replications.albert.names import ALL, NO_TASK, NONE
from replications.albert.pretraining import Laboratory, Model


def distance_rows(lab: Laboratory, seed: int, row: Rows) -> Iterator[Measurement]:
    """Mean over tokens held back of the distance and the angle of a layer's input and output."""
    base = lab.settings.base
    wide = replace(base, embedding=base.hidden)
    for system, model in ((ALL, Model(base)), (NONE, Model(sharing(wide, NONE)))):
        moves = layer_moves(lab, lab.pretrained(model, seed).encoder)
        for layer, (distance, angle) in enumerate(moves.tolist(), 1):
            yield row("figure1", system, "distance", distance, "length", at=layer)
            yield row("figure1", system, "angle", angle, "degrees", at=layer)


@torch.inference_mode()
def layer_moves(lab: Laboratory, encoder: Encoder) -> Tensor:
    """(L, 2): of each layer the L2 distance of input and output, and the angle between them in degrees."""
    device = available_device()
    encoder.to(device).eval()
    total, tokens = torch.zeros(encoder.shape.layers, 2, dtype=torch.double), 0
    for cpu_batch in lab.held_back(NO_TASK).epoch(0):
        batch = cpu_batch.to(device)
        ids, mask, types = batch.texts
        states = [encoder.embedding(ids, types), *encoder.layer_outputs(ids, mask, types)]
        present = batch.present
        for layer, (x, y) in enumerate(pairwise(states)):
            total[layer] += moved(x[present], y[present]).double().sum(0).cpu()
        tokens += int(present.sum())
    return total / tokens


def moved(x: Tensor, y: Tensor) -> Tensor:
    """(N, 2) of vectors (N, H): their distance, and their angle in degrees."""
    angle = torch.rad2deg(torch.acos(torch.cosine_similarity(x, y, dim=-1).clamp(-1, 1)))
    return torch.stack([(x - y).norm(dim=-1), angle], dim=-1)
