"""Structured pruning of a fine-tuned classifier: attention heads and feed-forward units, the least important first.

Importance is what Michel et al. (2019, "Are Sixteen Heads Really Better than One?", section 4.1) ask of heads: how much
the loss would change, to first order, if an output were gated. For the gate xi = 1 on the output o of a head,

    I = sum over examples of |dL/dxi| = sum over examples of |sum over tokens of o . dL/do|

Units of the feed-forward block are gated alike, behind the activation. What is ours: that both are pruned, the same
share in every layer (so that layers stay alike and FLOPs have a closed form), at once and not by iteration, and that
the weights are really taken out and what is left is fine-tuned.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from common.encoders.checkpoints import CONFIG, attention_kernel
from common.encoders.layered import LayeredEncoder
from common.encoders.narrow import Kept, distinct_parts, narrow
from common.models.classifier import EncoderClassifier, PooledClassifier, load_with_metadata, task_loss
from common.records.measurements import write_text
from common.training.batches import Batch

WEIGHTS = "pruned.safetensors"


@dataclass(frozen=True)
class Importance:
    """Of one layer: of its heads (A,), and of its units (I,)."""

    heads: Tensor
    units: Tensor

    def most(self, share: float) -> Kept:
        """The most important ones, as many as `share` says, at least one."""
        return Kept(*(_most(one, kept_of(len(one), share)) for one in (self.heads, self.units)))


def kept_of(count: int, share: float) -> int:
    """How many stay of `count`, at least one."""
    return max(1, round(share * count))


def _most(importance: Tensor, count: int) -> Tensor:
    return importance.topk(count).indices.sort().values.cpu()


def importance(classifier: EncoderClassifier, batches: Iterable[Batch]) -> list[Importance]:
    """Of every layer that has weights of its own, from the gradients on some training texts; dropout is off."""
    classifier.eval()
    parts = list(distinct_parts(classifier.encoder))
    gates = _Gates([linear for part in parts for linear in (part.attended, part.outer)])
    for batch in batches:
        # The sum over texts, so that each counts alike whatever its batch.
        loss = task_loss(classifier(batch), batch.labels) * len(batch.labels)
        loss.backward()
        gates.collect([part.heads for part in parts])
        classifier.zero_grad()
    gates.close()
    return [Importance(*gates.total[i : i + 2]) for i in range(0, len(gates.total), 2)]


class _Gates:
    """What comes into some linear maps, with its gradient: the outputs that are gated.

    Attributes:
        total: for each map the importance so far; every second one is by head.
    """

    def __init__(self, maps: list[nn.Linear]) -> None:
        self.maps = maps
        self.seen: dict[nn.Module, list[Tensor]] = defaultdict(list)
        self.total: list[Tensor] = []
        self._hooks = [one.register_forward_pre_hook(self._watch) for one in maps]

    def _watch(self, module: nn.Module, inputs: tuple[Tensor]) -> None:
        inputs[0].retain_grad()
        self.seen[module].append(inputs[0])

    def collect(self, heads: list[int]) -> None:
        """Add what the last backward pass shows; a map that is called for several layers is one gate in all of them."""
        found = []
        for number, one in enumerate(self.maps):
            gradient = sum(((o * _gradient(o)).sum(1) for o in self.seen[one]), torch.zeros(()))
            assert isinstance(gradient, Tensor)
            by_head = number % 2 == 0
            gated = gradient.unflatten(-1, (heads[number // 2], -1)).sum(-1) if by_head else gradient
            found.append(gated.detach().abs().sum(0))
        self.total = found if not self.total else [a + b for a, b in zip(self.total, found, strict=True)]
        self.seen.clear()

    def close(self) -> None:
        """Stop watching."""
        for hook in self._hooks:
            hook.remove()


def _gradient(output: Tensor) -> Tensor:
    assert output.grad is not None
    return output.grad


class PrunedClassifier(EncoderClassifier):
    """A classifier on an encoder with fewer heads and units; its weights lie in one file beside the configuration."""

    @staticmethod
    def of(classifier: EncoderClassifier, kept: list[Kept]) -> PrunedClassifier:
        """What is left of a classifier, which is changed in place."""
        narrow(classifier.encoder, kept)
        return PrunedClassifier(classifier.encoder, classifier.head, classifier.pooling)

    def save(self, folder: Path) -> None:
        """Write everything to `folder` (safetensors and JSON)."""
        write_text(folder / CONFIG, self.encoder.config.to_json_string(use_diff=False))
        state = {k: v.detach().cpu().contiguous() for k, v in self.state_dict().items()}
        save_file(state, folder / WEIGHTS, metadata={"pooling": self.pooling, **self._sizes()})

    def _sizes(self) -> dict[str, str]:
        part = next(distinct_parts(self.encoder))
        width = self.encoder.hidden_size // part.heads
        return {"heads": str(part.query.out_features // width), "units": str(part.inner.out_features)}


def load_pruned(folder: Path) -> PrunedClassifier:
    """Read what `PrunedClassifier.save` wrote, in evaluation mode."""
    state, about = load_with_metadata(folder / WEIGHTS)
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    kernel, pooler = attention_kernel(config.model_type), any(".model.pooler." in name for name in state)
    with torch.random.fork_rng(devices=[]):
        model = AutoModel.from_config(config, attn_implementation=kernel, add_pooling_layer=pooler)
    encoder = LayeredEncoder(model, pooler_is_pretrained=False)
    # Which ones stay does not matter: their weights are read, and of MPNet their places.
    first = Kept(torch.arange(int(about["heads"])), torch.arange(int(about["units"])))
    outputs, hidden = state["head.classifier.weight"].shape
    classifier = EncoderClassifier(encoder, PooledClassifier(hidden, outputs), about["pooling"])
    pruned = PrunedClassifier.of(classifier, [first for _ in distinct_parts(encoder)])
    pruned.load_state_dict(state)
    return pruned.eval()  # type: ignore[return-value]
