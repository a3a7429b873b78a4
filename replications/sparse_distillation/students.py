"""The other students of Tables 2 and 4: a bidirectional LSTM and a convolution over the teacher's word embeddings.

Both start from a copy of the teacher's embedding table (Appendix A.3) and read the teacher's own tokens; a pair of
texts comes as one sequence, as the tokenizer joins it. Padding never reaches a result: the LSTM runs on packed
sequences, the convolution sees zeros beyond the end of a text, as it does where nothing is padded.

The paper names layers, hidden sizes and the window, and no more. Ours is the rest: the classifier reads the final
states of both directions (LSTM) or the maximum over time (convolution), after dropout, and the table goes on learning.

Notation: B texts of L tokens, H the width of the embeddings, D the hidden size, C classes.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from common.costs.parameters import linear_parameters
from common.training.batches import Batch

WEIGHTS = "student.safetensors"


class TokenStudent(nn.Module):
    """A student that reads the teacher's tokens."""

    def save(self, folder: Path) -> None:
        """Write the weights (safetensors)."""
        save_file({k: v.contiguous() for k, v in self.state_dict().items()}, folder / WEIGHTS)

    def load(self, folder: Path) -> None:
        """Take over what `save` wrote."""
        self.load_state_dict(load_file(folder / WEIGHTS))


class BiLSTM(TokenStudent):
    """LSTM (2l-Dd) of Table 4: `layers` bidirectional LSTM layers.

    Args:
        table: (vocabulary, H) word embeddings; copied.
        hidden: D of each direction; the paper's are 4, 64, 256 and 512.
        outputs: C.
        layers: 2 in the paper.
        dropout: before the classifier.
    """

    def __init__(self, table: Tensor, hidden: int, outputs: int, *, layers: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        self.embedding = _copied(table)
        self.lstm = nn.LSTM(table.shape[1], hidden, layers, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(2 * hidden, outputs)

    def forward(self, batch: Batch) -> Tensor:
        """(B, C) logits."""
        lengths = batch.attention_mask.sum(dim=1).cpu()
        embedded = pack_padded_sequence(
            self.embedding(batch.input_ids), lengths, batch_first=True, enforce_sorted=False
        )
        _, (final, _) = self.lstm(embedded)  # (2 * layers, B, D), the last layer's two directions last
        logits: Tensor = self.classifier(self.dropout(torch.cat([final[-2], final[-1]], dim=-1)))
        return logits


class CNN(TokenStudent):
    """CNN (1l-Dd) of Table 4: one convolution over time, ReLU, maximum over time.

    Args:
        table: (vocabulary, H) word embeddings; copied.
        outputs: C.
        hidden: D, filters; 128 in the paper's text, 256 in the label of its tables.
        window: tokens that a filter sees; odd.
        dropout: before the classifier.
    """

    def __init__(
        self, table: Tensor, outputs: int, *, hidden: int = 128, window: int = 7, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.embedding = _copied(table)
        self.convolution = nn.Conv1d(table.shape[1], hidden, window, padding="same")
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(hidden, outputs)

    def forward(self, batch: Batch) -> Tensor:
        """(B, C) logits."""
        mask = batch.attention_mask.unsqueeze(1)  # (B, 1, L)
        embedded = self.embedding(batch.input_ids).transpose(1, 2) * mask
        # ReLU leaves nothing below 0, so that a masked position can never be the maximum of a text's own.
        features = torch.relu(self.convolution(embedded)) * mask
        logits: Tensor = self.classifier(self.dropout(features.amax(dim=2)))
        return logits


def _copied(table: Tensor) -> nn.Embedding:
    embedding: nn.Embedding = nn.Embedding.from_pretrained(table.detach().clone(), freeze=False)
    return embedding


# -- Sizes (closed forms): all but the embedding table ----------------------------------------------------------------


def bilstm_dense_parameters(width: int, hidden: int, outputs: int, layers: int = 2) -> int:
    """Parameters of a `BiLSTM` besides its table: four gates with two biases each, two directions, the classifier.

    Table 4 prints 11M, 5M, 2M and <1M for D = 512, 256, 64, 4 at H = 1024. This form gives 12.6M, 4.2M, 0.7M and
    0.03M: only the last agrees. No one width H gives the printed ones (D = 512 asks for a smaller, D = 64 for a
    larger), so that what was counted there is not known.
    """
    inputs = [width] + [2 * hidden] * (layers - 1)
    recurrent = sum(2 * 4 * hidden * (size + hidden + 2) for size in inputs)
    return recurrent + linear_parameters(2 * hidden, outputs)


def cnn_dense_parameters(width: int, outputs: int, hidden: int = 128, window: int = 7) -> int:
    """Parameters of a `CNN` besides its table.

    Table 4 prints 2M at H = 1024: that is D = 256 (1.8M), as its label says; D = 128, as the text says, gives 0.9M.
    """
    return linear_parameters(window * width, hidden) + linear_parameters(hidden, outputs)
