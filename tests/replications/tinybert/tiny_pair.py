"""The sizes of the small student in TinyBERT's tests, and what a layer shows."""

from common.encoders.layered import LayeredEncoder
from common.training.batches import Batch
from common.training.pretraining.observed import Observed, observe
from replications.tinybert.distillation import batch_texts
from replications.tinybert.method import StudentSize

SIZE = StudentSize(2, 32, 64)


def shown(encoder: LayeredEncoder, batch: Batch) -> Observed:
    return observe(encoder, *batch_texts(batch))
