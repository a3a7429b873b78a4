"""DeFormer at work: the question through the lower layers, the passages out of the cache, both through the upper ones.

A question is asked of several passages at once; several questions may share a call. Each question goes through the
lower layers once, however many passages it is asked of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from common.training.segments import Segment, text_of_second
from replications.deformer.cache import PassageCache
from replications.deformer.method import DeFormer


@dataclass(frozen=True)
class Asked:
    """What the model says of P pairs of question and passage.

    Attributes:
        logits: (P, L, 2) of spans, or (P, C) of classes.
        text: (P, L) True where an answer may stand: the second text's own tokens.
    """

    logits: Tensor
    text: Tensor


class Online:
    """A model and its cache.

    Whichever segment is cached (passages are second segments; the paper caches MNLI's premises, which are first ones),
    the other is given as tokens.
    """

    def __init__(self, model: DeFormer, cache: PassageCache) -> None:
        self.model, self.cache = model.eval(), cache
        self.device = next(model.parameters()).device

    @torch.inference_mode()
    def __call__(self, live: Segment, of: Sequence[int], keys: Sequence[str]) -> Asked:
        """Ask.

        Args:
            live: Q questions, padded to their slot.
            of: (P,) which of the questions each passage is asked.
            keys: (P,) of the passages, in the cache.
        """
        live = live.to(self.device)
        lower, rows = self.model.lower(live), torch.tensor(of, device=self.device)
        cached, mask = (tensor.to(self.device) for tensor in self.cache.states(keys))
        asked, asked_mask = lower[rows], live.attention_mask[rows]
        if self.cache.about.token_type == 1:
            sides = (asked, cached, asked_mask, mask)
        else:
            sides = (cached, asked, mask, asked_mask)
        first, second, first_mask, second_mask = sides
        joint = self.model.upper(first, second, torch.cat([first_mask, second_mask], dim=1))
        return Asked(joint.logits, text_of_second(first.shape[1], second_mask))
