"""The backbone at work: precision, the kernel of attention, and whether padding leaves a text's output alone."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from common.devices import Precision
from common.doctor.findings import Finding
from common.encoders.checkpoints import attention_kernel
from common.encoders.layered import LayeredEncoder
from common.encoders.pooling import POOLINGS
from common.encoders.sources import PretrainedEncoder
from common.tasks.task import Example
from common.training.batches import Batch, encode

TEXTS = (
    "short",
    "a text of some more words than the one before it",
    "and one that is a good deal longer than both of the others, so that they are padded when all three share a batch",
)

CLOSE = 1e-3
"""Of the largest number of an output: how far padding may move it. Rounding moves it by about a millionth."""


def precision_of_training(here: Precision, recorded: str | None, run: str) -> Iterator[Finding]:
    """Whether training here multiplies as the recorded run's did; `recorded` is None where there is no such record."""
    if recorded is not None and recorded != here:
        yield Finding(
            "doubtful",
            f"training is in {here} on this machine, and was in {recorded} for the recorded {run}: scores may differ "
            "by a few tenths of a point.",
            "Compare means over seeds: SEEDS=3",
        )


def precision_of_timing(encoder: LayeredEncoder) -> Iterator[Finding]:
    """Whether what is timed is float32: the weights, new numbers, and products of matrices on a GPU."""
    other = sorted({str(p.dtype) for p in encoder.parameters()} - {"torch.float32"})
    if other:
        yield Finding("broken", f"the backbone's weights are {', '.join(other)}, not float32.", "Load it anew")
    if torch.get_default_dtype() != torch.float32:
        yield Finding("broken", f"new numbers are {torch.get_default_dtype()}.", "Leave torch's default dtype alone")
    if torch.get_float32_matmul_precision() != "highest":
        yield Finding(
            "broken",
            f"products of float32 matrices have the precision {torch.get_float32_matmul_precision()!r}: timings are "
            "said to be float32.",
            "Leave torch.set_float32_matmul_precision at 'highest'",
        )


def attention(encoder: LayeredEncoder) -> Iterator[Finding]:
    """Whether attention is computed by the kernel that every record was timed with."""
    expected, found = attention_kernel(encoder.config.model_type), encoder.config._attn_implementation
    if found != expected:
        yield Finding(
            "doubtful",
            f"attention is {found!r}, and the records' was {expected!r}: times do not compare.",
            f"Call set_attention({expected!r}) before timing",
        )


@torch.inference_mode()
def padding(source: PretrainedEncoder) -> Iterator[Finding]:
    """Whether each of three texts is read alike alone and in a batch in which it is padded, first token and mean."""
    examples = [Example(text, None, 0) for text in TEXTS]
    split = encode(source.tokenizer, examples, regression=False, max_length=128)
    together = _read(source.encoder, split.batch(range(len(TEXTS))))
    for name, rows in together.items():
        alone = torch.cat([_read(source.encoder, split.batch([row]))[name] for row in range(len(TEXTS))])
        gap = float((rows - alone).abs().max() / alone.abs().max())
        if not gap <= CLOSE:  # NaN is no small gap.
            yield Finding(
                "broken",
                f"the output of {source.backbone} changes with padding: its {name} by {gap:.1%} of the largest number.",
                "Look at how the attention mask reaches the layers (common/encoders/layered.py) and the pooling",
            )


def _read(encoder: LayeredEncoder, batch: Batch) -> dict[str, Tensor]:
    hidden, mask = encoder.encode(batch.input_ids, batch.attention_mask, batch.token_type_ids)
    return {name: pooled(hidden, mask) for name, pooled in POOLINGS.items()}
