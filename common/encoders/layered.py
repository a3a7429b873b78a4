"""An encoder of transformers (BERT, RoBERTa, ALBERT or MPNet), opened layer by layer.

Every early exit needs the hidden states between two layers, and the right to stop there. The models of transformers
run all layers in one call. `LayeredEncoder` keeps such a model and its weights, and runs it in steps: `embed` gives h_0
and the prepared attention mask, `layer(i, h, mask)` turns h_{i-1} into h_i. Layers are counted from 1 to n, as in the
papers. Step by step the result is that of the model itself; the tests hold it to that.

MPNet adds to every attention score a bias that depends on the distance of the two tokens, one table for all layers
(Song et al. 2020, section 3.2 after T5). It is computed once, in `embed`, and travels inside the mask, to which it is
added: whoever passes the mask on and takes rows of it needs to know nothing of it.

Whoever wants the internals of transformers asks here: when a new version moves them, this file alone breaks, with a
message that says so.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers.masking_utils import create_bidirectional_mask

from common.encoders.checkpoints import (
    CONFIG,
    WEIGHTS,
    attention_kernel,
    check_folder,
    check_type,
    read_checkpoint,
    read_metadata,
)
from common.errors import UserError
from common.records.measurements import atomic_write, write_text

# In the metadata of saved weights.
_POOLER_KEY = "pooler"
_POOLER_STATES = ("pretrained", "random", "none")


class LayeredEncoder(nn.Module):
    """A transformers encoder that can be run one layer at a time.

    Attributes:
        model: the wrapped `BertModel`, `RobertaModel`, `AlbertModel` or `MPNetModel`, which owns all parameters.
        pooler_is_pretrained: whether the pooler's weights were trained; False if they were drawn at random.
    """

    def __init__(self, model: nn.Module, *, pooler_is_pretrained: bool) -> None:
        """Wrap `model`; its parameters are shared, not copied.

        Raises:
            UserError: the model is of another type, or the installed transformers lays it out differently.
        """
        super().__init__()
        _check_layout(model)
        self.model: Any = model
        self.training = model.training
        self.pooler_is_pretrained = pooler_is_pretrained

    @property
    def config(self) -> Any:  # noqa: ANN401
        """The transformers configuration."""
        return self.model.config

    @property
    def num_layers(self) -> int:
        """Number of layers n."""
        return int(self.config.num_hidden_layers)

    @property
    def hidden_size(self) -> int:
        """Width H of the hidden states."""
        return int(self.config.hidden_size)

    @property
    def embeddings(self) -> nn.Module:
        """The module that turns token ids into vectors (ALBERT: before the projection to width H)."""
        return cast(nn.Module, self.model.embeddings)

    @property
    def pooler_dense(self) -> nn.Linear | None:
        """The pooler's linear map (H -> H, applied to the first token, before tanh); None if there is no pooler."""
        pooler = self.model.pooler
        if self.config.model_type == "albert" or pooler is None:
            return cast("nn.Linear | None", pooler)
        return cast(nn.Linear, pooler.dense)

    def layer_module(self, i: int) -> nn.Module:
        """The module of layer i = 1..n. ALBERT returns the same module for every i: its layers share weights.

        Raises:
            IndexError: there is no such layer.
        """
        if not 1 <= i <= self.num_layers:
            raise IndexError(f"layer {i} of an encoder with layers 1 to {self.num_layers}")
        if self.config.model_type == "albert":
            return cast(nn.Module, self.model.encoder.albert_layer_groups[0])
        return cast(nn.Module, self.model.encoder.layer[i - 1])

    @property
    def word_embeddings(self) -> Tensor:
        """(vocabulary, E) the table that token ids are looked up in, detached."""
        table: Tensor = self.model.embeddings.word_embeddings.weight
        return table.detach()

    def embed(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """The embedding output and the attention mask in the form that `layer` takes.

        Args:
            input_ids: token ids (B, L).
            attention_mask: 1 for a token, 0 for padding (B, L); None means no padding.
            token_type_ids: 0 for the first text, 1 for the second (B, L). A model with a single token type (RoBERTa)
                or none (MPNet) has no use for them and ignores them.
            position_ids: positions (B, L); by default those that the model gives itself.

        Returns:
            h_0 (B, L, H) and the mask of `prepare_mask`.
        """
        if getattr(self.config, "type_vocab_size", 1) == 1:
            token_type_ids = None
        h = self.model.embeddings(input_ids=input_ids, token_type_ids=token_type_ids, position_ids=position_ids)
        mask = self.prepare_mask(h, attention_mask)
        if self.config.model_type == "albert":
            h = self.model.encoder.embedding_hidden_mapping_in(h)
        return h, mask

    def positions(self, input_ids: Tensor, first: int = 0) -> Tensor:
        """The positions (B, L) that the model gives these tokens itself, all moved on by `first`; for `embed`.

        RoBERTa and MPNet count from `padding_idx` + 1 and leave padding at `padding_idx`.

        Raises:
            UserError: the position table ends before the last of them.
        """
        embeddings, length = self.model.embeddings, input_ids.shape[1]
        counts = self.config.model_type in ("roberta", "mpnet")
        begin = int(embeddings.padding_idx) + 1 if counts else 0
        rows = int(embeddings.position_embeddings.num_embeddings)
        if begin + first + length > rows:
            raise UserError(
                f"tokens at the positions {first} to {first + length - 1} want an encoder with as many: this one ends "
                f"at {rows - begin - 1}. Name another one with ENCODER="
            )
        if not counts:
            return torch.arange(first, first + length, device=input_ids.device).expand(len(input_ids), -1)
        present = input_ids.ne(begin - 1).long()
        return (present.cumsum(1) + first) * present + begin - 1

    def prepare_mask(self, h: Tensor, attention_mask: Tensor | None) -> Tensor | None:
        """The mask that `layer` takes, for hidden states h (B, L, any) and a padding mask (B, L).

        Its rows along dimension 0 are those of the batch, so `mask[rows]` is the mask of those rows; which tokens are
        padding is read from it by `common.encoders.pooling.tokens_present`.

        Returns:
            (B, 1, L, L), or None if there is no padding. MPNet: (B, heads, L, L) with the relative position bias added,
            never None.
        """
        mask: Tensor | None = create_bidirectional_mask(
            config=self.config, inputs_embeds=h, attention_mask=attention_mask
        )
        if self.config.model_type != "mpnet":
            return mask
        bias: Tensor = self.model.encoder.compute_position_bias(h[:1])
        return bias.expand(len(h), -1, -1, -1) if mask is None else bias + mask

    def layer(self, i: int, h: Tensor, mask: Tensor | None) -> Tensor:
        """h_i (B, L, H) from h_{i-1} (B, L, H), for i = 1..n, with the mask of `embed`.

        Raises:
            IndexError: there is no such layer.
        """
        out = self.layer_module(i)(h, mask)
        return cast(Tensor, out[0] if self.config.model_type == "mpnet" else out)

    def hidden_states(
        self, input_ids: Tensor, attention_mask: Tensor | None, token_type_ids: Tensor | None = None
    ) -> list[Tensor]:
        """[h_0, h_1, ..., h_n], each (B, L, H): the embedding output and the output of every layer."""
        h, mask = self.embed(input_ids, attention_mask, token_type_ids)
        states = [h]
        for i in range(1, self.num_layers + 1):
            states.append(self.layer(i, states[-1], mask))
        return states

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None, token_type_ids: Tensor | None = None) -> Tensor:
        """h_n (B, L, H)."""
        return self.encode(input_ids, attention_mask, token_type_ids)[0]

    def encode(
        self, input_ids: Tensor, attention_mask: Tensor | None, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """h_n (B, L, H), and the mask of `embed` for whatever reads it."""
        h, mask = self.embed(input_ids, attention_mask, token_type_ids)
        for i in range(1, self.num_layers + 1):
            h = self.layer(i, h, mask)
        return h, mask

    def set_attention(self, implementation: str) -> None:
        """Choose the attention kernel: `sdpa` (fused) or `eager` (plain matrix products, which FLOP counters see).

        Raises:
            UserError: a fused kernel is asked of MPNet, which transformers gives plain matrix products alone.
        """
        if attention_kernel(self.config.model_type) != "eager":
            self.model.set_attn_implementation(implementation)
        elif implementation != "eager":
            raise UserError(
                f"an encoder of type '{self.config.model_type}' has eager attention only: no {implementation}"
            )

    def first_layers(self, k: int) -> LayeredEncoder:
        """A deep copy that ends after layer k = 1..n; nothing is shared with this encoder.

        Raises:
            IndexError: k is not one of the layers.
        """
        self.layer_module(k)
        return self.with_layers(range(1, k + 1))

    def with_layers(self, kept: Sequence[int]) -> LayeredEncoder:
        """A deep copy of the embeddings and of these layers, 1..n, in this order; nothing is shared.

        ALBERT's layers are one and the same: of them only how many counts.

        Raises:
            IndexError: one of them is no layer.
        """
        for i in kept:
            self.layer_module(i)
        memo: dict[int, Any] = {}
        if self.config.model_type != "albert":
            # Handing deepcopy the short list in advance spares copying the layers that are dropped.
            layers = self.model.encoder.layer
            memo[id(layers)] = nn.ModuleList(copy.deepcopy(layers[i - 1], memo) for i in kept)
        model = copy.deepcopy(self.model, memo)
        model.config.num_hidden_layers = len(kept)
        return LayeredEncoder(model, pooler_is_pretrained=self.pooler_is_pretrained)

    def query_and_key(self, i: int) -> tuple[nn.Linear, nn.Linear]:
        """The linear maps of layer i = 1..n that make attention's queries and keys, all heads side by side.

        Raises:
            IndexError: there is no such layer.
        """
        layer: Any = self.layer_module(i)
        if self.config.model_type == "mpnet":
            return layer.attention.attn.q, layer.attention.attn.k
        is_albert = self.config.model_type == "albert"
        attention = layer.albert_layers[0].attention if is_albert else layer.attention.self
        return attention.query, attention.key

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors, named as transformers names them, into `folder`.

        A kill leaves the earlier pair, the new pair, or a configuration without weights (which `load` refuses);
        never the weights of one encoder beside the configuration of another.

        Raises:
            UserError: the folder cannot be written.
        """
        config, weights = folder / CONFIG, folder / WEIGHTS
        text = self.config.to_json_string(use_diff=False)
        if not config.exists() or config.read_text(encoding="utf-8") != text:
            weights.unlink(missing_ok=True)
            write_text(config, text)
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.model.state_dict().items()}
        pooler = "none" if self.pooler_dense is None else "pretrained" if self.pooler_is_pretrained else "random"
        with atomic_write(weights) as temporary:
            try:
                save_file(state, temporary, metadata={"format": "pt", _POOLER_KEY: pooler})
            except SafetensorError as error:
                raise UserError(f"cannot write {weights}: {error}") from error

    @staticmethod
    def wrote(folder: Path) -> bool:
        """Whether `save` wrote the weights in `folder`.

        Raises:
            UserError: the weights are missing or damaged.
        """
        return read_metadata(folder / WEIGHTS).get(_POOLER_KEY) in _POOLER_STATES

    @classmethod
    def load(cls, folder: Path) -> LayeredEncoder:
        """Read an encoder written by `save`, in evaluation mode on the CPU.

        Raises:
            UserError: a file is missing, damaged, or not written by `save` (the message names it). A pickled
                `pytorch_model.bin` is never opened.
        """
        check_folder(folder)
        if not cls.wrote(folder):
            raise UserError(
                f"{folder / WEIGHTS} was not written by this project: name the folder as an encoder instead "
                "(load_encoder takes checkpoints from elsewhere)"
            )
        flag = read_metadata(folder / WEIGHTS)[_POOLER_KEY]
        checkpoint = read_checkpoint(folder, pooler=flag != "none")
        if checkpoint.has_pooler != (flag != "none"):
            raise UserError(f"{folder / WEIGHTS} lacks the pooler's weights: write the encoder again")
        return cls(checkpoint.model, pooler_is_pretrained=flag == "pretrained")


def _check_layout(model: Any) -> None:  # noqa: ANN401
    """Make sure that the model is laid out as this file expects.

    Raises:
        UserError: it is not.
    """
    config = model.config
    check_type(type(model).__name__, config.model_type)
    if config.model_type == "albert":
        parts: tuple[str, ...] = (
            "embeddings",
            "encoder.embedding_hidden_mapping_in",
            "encoder.albert_layer_groups",
            "pooler",
        )
    elif config.model_type == "mpnet":
        parts = ("embeddings", "encoder.layer", "encoder.compute_position_bias", "pooler")
    else:
        parts = ("embeddings", "encoder.layer", "pooler")
    for part in parts:
        try:
            attrgetter(part)(model)
        except AttributeError as error:
            raise UserError(
                f"transformers {transformers.__version__} lays out {type(model).__name__} differently: it has no "
                f"'{part}'. Install the version that was tested: pip install -c constraints.txt transformers"
            ) from error
    if config.model_type == "albert" and (config.num_hidden_groups, config.inner_group_num) != (1, 1):
        raise UserError(
            "this ALBERT does not share one layer throughout (num_hidden_groups and inner_group_num must be 1, as in "
            "every released checkpoint)"
        )
