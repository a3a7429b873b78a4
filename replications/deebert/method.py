"""DeeBERT (Xin et al., ACL 2020), Section 3: off-ramps between BERT's layers, left as soon as one is sure.

Notation: n layers, h_i (B, L, H) the output of layer i, h_i[0] its first token, C classes. Exit i answers
z_i (B, C) logits, f_i(x) = softmax(z_i). Exit n is the fine-tuned model's own classifier.

    stage 1   minimise L_n over encoder and main classifier: plain fine-tuning       (Section 3.1)
    stage 2   freeze all that; minimise L_1 + ... + L_{n-1} over the off-ramps        (Section 3.1)
    use       leave at the first i < n with entropy(f_i(x)) < S, else at n            (Section 3.2)
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from common.early_exit.exits_on_encoder import ExitsOnEncoder
from common.early_exit.rules import EntropyBelow
from common.encoders.layered import LayeredEncoder
from common.training.classifier import EncoderClassifier, PooledClassifier, task_loss
from common.training.frozen import FrozenStates

# -- The model: a fine-tuned classifier with an off-ramp after each layer but the last (Figure 1) --------------------


class OffRamps(nn.ModuleList):
    """Exits 1..n-1. Exit i: p_i = tanh(W_i h_i[0] + b_i), z_i = V_i dropout(p_i) + c_i; nothing is shared."""

    @staticmethod
    def fresh(encoder: LayeredEncoder, outputs: int, seed: int) -> OffRamps:
        """Untrained off-ramps for a *pretrained* encoder (before stage 1).

        Each pooler is a copy of the pretrained pooler and is not refreshed after stage 1; each classifier is drawn
        from N(0, 0.02) with bias 0 (official code: `init_highway_pooler`, called before training).
        """
        torch.manual_seed(seed)
        dropout = encoder.config.hidden_dropout_prob
        heads = (PooledClassifier(encoder.hidden_size, outputs, dropout) for _ in range(encoder.num_layers - 1))
        return OffRamps(head.initialise(encoder.pooler_dense, deviation=0.02) for head in heads)

    def save(self, path: Path) -> None:
        """Write the weights (safetensors)."""
        save_file({key: value.contiguous() for key, value in self.state_dict().items()}, path)

    @staticmethod
    def load(path: Path) -> OffRamps:
        """Read what `save` wrote, in evaluation mode."""
        state = load_file(path)
        ramps = OffRamps()
        for index in range(sum(key.endswith("classifier.bias") for key in state)):
            outputs, hidden = state[f"{index}.classifier.weight"].shape
            ramps.append(PooledClassifier(hidden, outputs))
        ramps.load_state_dict(state)
        return ramps.eval()  # type: ignore[return-value]


class DeeBERT(ExitsOnEncoder):
    """The fine-tuned classifier with its off-ramps: what `common.early_exit` runs."""

    def __init__(self, classifier: EncoderClassifier, off_ramps: OffRamps) -> None:
        super().__init__(classifier.encoder)
        self.main, self.off_ramps = classifier.head, off_ramps

    def exit_logits(self, index: int, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """z_i. At i = n always the main classifier: the official code tests an off-ramp there that nothing trained."""
        exit_i = self.main if index == self.num_layers else self.off_ramps[index - 1]
        logits: Tensor = exit_i(hidden[:, 0])
        return logits


def leaves_below(threshold: float) -> EntropyBelow:
    """Section 3.2: leave when entropy(f_i(x)) < S, strictly, in nats; S = 0 never leaves, S > ln C at layer 1."""
    return EntropyBelow(threshold)


# -- Stage 2: the off-ramps learn on a frozen encoder, whose first-token states are computed once ---------------------


def off_ramp_loss(off_ramps: OffRamps, batch: FrozenStates) -> Tensor:
    """L_1 + ... + L_{n-1}: a plain sum, all weights 1 (equation 1 per off-ramp)."""
    losses = [task_loss(exit_i(batch.states[:, i]), batch.labels) for i, exit_i in enumerate(off_ramps)]
    return torch.stack(losses).sum()
