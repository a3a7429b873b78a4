"""FLOPs of FastBERT: the paper's own count, which its numbers follow exactly, and ours.

The paper (official code, `thop`): linear maps alone, 2 FLOPs a multiply-add, 128 tokens, every token through the
classifier's self-attention, and neither the products of attention nor the last map to N classes. Ours adds the
products of attention and the last map, takes texts at their own length, and counts what `method.ExitClassifier`
computes: one query.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.costs.flops import EncoderShape, encoder_flops, linear_flops
from common.costs.parameters import linear_parameters
from replications.fastbert.method import WIDTH

TOKENS = 128


@dataclass(frozen=True)
class PrintedCount:
    """The paper's count for an encoder of L layers, width H and feed-forward width I, at 128 tokens."""

    layers: int
    hidden: int
    intermediate: int

    @staticmethod
    def of(shape: EncoderShape) -> PrintedCount:
        """For an encoder's shape."""
        return PrintedCount(shape.layers, shape.hidden, shape.intermediate)

    @property
    def layer_parts(self) -> dict[str, int]:
        """A Transformer layer, by Table 1's parts."""
        return {
            "self-attention": 4 * linear_flops(self.hidden, self.hidden, TOKENS),
            "feed-forward": 2 * linear_flops(self.hidden, self.intermediate, TOKENS),
        }

    @property
    def classifier_parts(self) -> dict[str, int]:
        """A classifier, by Table 1's parts; the table takes every token through the second map."""
        return {
            "fully connected, to 128": linear_flops(self.hidden, WIDTH, TOKENS),
            "self-attention at 128": 4 * linear_flops(WIDTH, WIDTH, TOKENS),
            "fully connected, 128 to 128": linear_flops(WIDTH, WIDTH, TOKENS),
        }

    @property
    def layer(self) -> int:
        """One layer."""
        return sum(self.layer_parts.values())

    @property
    def classifier(self) -> int:
        """One classifier as the code runs it: the second map takes the first token alone."""
        parts = self.classifier_parts
        to_width, attention = parts["fully connected, to 128"], parts["self-attention at 128"]
        return to_width + attention + linear_flops(WIDTH, WIDTH)

    @property
    def baseline(self) -> int:
        """All layers and one classifier: the paper's "BERT"."""
        return self.layers * self.layer + self.classifier

    def leaving_after(self, layers: float) -> float:
        """Executing `layers` layers (a mean may be broken), each with its classifier."""
        return layers * (self.layer + self.classifier)

    def speedup(self, layers: float) -> float:
        """The paper's Speedup of executing `layers` layers on average: a ratio of FLOPs."""
        return self.baseline / self.leaving_after(layers)


# -- Ours -------------------------------------------------------------------------------------------------------------


def head_flops(hidden: int, classes: int, tokens: int) -> int:
    """One classifier on a text: keys and values of all tokens, query and what follows of the first alone."""
    every = linear_flops(hidden, WIDTH, tokens) + 2 * linear_flops(WIDTH, WIDTH, tokens)
    products = 2 * linear_flops(WIDTH, tokens)
    first = 3 * linear_flops(WIDTH, WIDTH) + linear_flops(WIDTH, classes)
    return every + products + first


def head_parameters(hidden: int, classes: int) -> int:
    """Scalars of one classifier: (H + 1) 128 + 5 * 129 * 128 + 129 N."""
    return linear_parameters(hidden, WIDTH) + 5 * linear_parameters(WIDTH, WIDTH) + linear_parameters(WIDTH, classes)


def teacher_flops(shape: EncoderShape, classes: int, tokens: int) -> int:
    """All layers and the teacher's classifier, no student run."""
    return encoder_flops(shape, tokens) + head_flops(shape.hidden, classes, tokens)
