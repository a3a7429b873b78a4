"""An encoder with an exit after every layer, but for what the exits are: that is each method's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from common.early_exit.runtime import all_exits
from common.training.batches import Batch

if TYPE_CHECKING:
    from common.encoders.layered import LayeredEncoder


class ExitsOnEncoder(nn.Module):
    """A `MultiExitModel` whose layers are an encoder's; a method adds its exits and `exit_logits`."""

    def __init__(self, encoder: LayeredEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    @property
    def num_layers(self) -> int:
        """The depth n, which is also the number of exits."""
        return self.encoder.num_layers

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """h_0 (B, L, H), the embeddings, and the attention mask."""
        return self.encoder.embed(batch.input_ids, batch.attention_mask, batch.token_type_ids)

    def layer(self, index: int, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """h_i from h_{i-1}, i = `index` from 1."""
        return self.encoder.layer(index, hidden, mask)

    def exit_logits(self, index: int, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """z_i (B, C) from h_i."""
        raise NotImplementedError

    def save(self, folder: Path) -> None:
        """Write everything to `folder`; each method's `load` reads it."""
        raise NotImplementedError

    def forward(self, batch: Batch) -> Tensor:
        """(B, n, C) logits of every exit."""
        return all_exits(self, batch)
