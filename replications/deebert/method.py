"""DeeBERT (Xin et al., ACL 2020), Section 3: off-ramps between BERT's layers, left as soon as one is sure.

Notation: n layers, h_i (B, L, H) the output of layer i, C classes. Exit i answers z_i (B, C) logits,
f_i(x) = softmax(z_i). Exit n is the fine-tuned model's own classifier.

    stage 1   minimise L_n over encoder and main classifier: plain fine-tuning       (Section 3.1)
    stage 2   freeze all that; minimise L_1 + ... + L_{n-1} over the off-ramps        (Section 3.1)
    use       leave at the first i < n with entropy(f_i(x)) < S, else at n            (Section 3.2)

An off-ramp reads what the main classifier reads of its layer: BERT's first token; of a backbone that was tuned to be
read as a mean, the mean (README, deviations).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from common.early_exit.multi_exit import Heads, MultiExit, summed_loss
from common.early_exit.rules import EntropyBelow
from common.encoders.pooling import FIRST_TOKEN
from common.models.classifier import EncoderClassifier
from common.training.frozen import FrozenStates

if TYPE_CHECKING:
    from common.encoders.layered import LayeredEncoder

# -- The model: a fine-tuned classifier with an off-ramp after each layer but the last (Figure 1) --------------------


def fresh_off_ramps(encoder: LayeredEncoder, outputs: int, seed: int, pooling: str = FIRST_TOKEN) -> Heads:
    """Exits 1..n-1, untrained: p_i = tanh(W_i h_i[0] + b_i), z_i = V_i dropout(p_i) + c_i; nothing is shared.

    Args:
        encoder: the *pretrained* one, before stage 1. Each pooler is a copy of its pooler and is not refreshed after
            stage 1; each classifier is drawn from N(0, 0.02) with bias 0 (official code: `init_highway_pooler`, called
            before training).
        outputs: C.
        seed: of the drawing.
        pooling: what is read of h_i.
    """
    return Heads.fresh(encoder, outputs, seed, encoder.num_layers - 1, pooling)


def with_off_ramps(classifier: EncoderClassifier, off_ramps: Heads) -> MultiExit:
    """The fine-tuned classifier with its off-ramps. Exit n is always the main classifier: the official code tests an
    off-ramp there that nothing trained.
    """  # noqa: D205
    return MultiExit(classifier.encoder, Heads.reading(classifier.pooling, [*off_ramps, classifier.head]))


# -- Stage 2: the off-ramps learn on a frozen encoder, whose states are computed once ---------------------------------


def off_ramp_loss(off_ramps: Heads, batch: FrozenStates) -> Tensor:
    """L_1 + ... + L_{n-1}: a plain sum, all weights 1 (equation 1 per off-ramp)."""
    return summed_loss(off_ramps, batch)


# -- Use --------------------------------------------------------------------------------------------------------------


def leaves_below(threshold: float) -> EntropyBelow:
    """Section 3.2: leave when entropy(f_i(x)) < S, strictly, in nats; S = 0 never leaves, S > ln C at layer 1."""
    return EntropyBelow(threshold)
