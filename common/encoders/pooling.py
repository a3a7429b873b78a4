"""What a classifier reads of a layer's hidden states: the first token, or the mean of all tokens.

BERT was pretrained to be read at its first token. A sentence encoder such as MiniLM-L6 was tuned to be read as a mean,
and its first token hardly differs between texts in the lower layers: an exit there has nothing to learn from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Pooling = Callable[[Tensor, Tensor | None], Tensor]
"""(B, H) from hidden states (B, L, H) and the mask of `LayeredEncoder.embed`."""


def tokens_present(mask: Tensor) -> Tensor:
    """(B, L) True for a token, False for padding, from the mask of `LayeredEncoder.embed`."""
    # Row 0 of the mask says what the first token, which is never padding, may attend to: every token. Where the mask
    # is added to the scores, padding has about the least number there is, and a token 0 or its bias (MPNet).
    row = mask[:, 0, 0]
    return row > torch.finfo(row.dtype).min / 2 if row.is_floating_point() else row


def first_token(hidden: Tensor, mask: Tensor | None) -> Tensor:
    """h[0]."""
    return hidden[:, 0]


def mean_of_tokens(hidden: Tensor, mask: Tensor | None) -> Tensor:
    """The mean of h over the tokens that are no padding."""
    if mask is None:
        return hidden.mean(1)
    present = tokens_present(mask).to(hidden.dtype)[..., None]
    return (hidden * present).sum(1) / present.sum(1)


FIRST_TOKEN, MEAN = "first token", "mean"

POOLINGS: Mapping[str, Pooling] = {FIRST_TOKEN: first_token, MEAN: mean_of_tokens}
