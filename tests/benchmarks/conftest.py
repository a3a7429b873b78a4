"""What the benchmarks share: MiniLM, and SST-2-like texts (short phrases, a few long sentences)."""

import pytest

from common.encoders.sources import PretrainedEncoder, load_encoder
from common.tasks.builtin import builtin_task
from common.tasks.task import Task
from common.training.batches import EncodedSplit, encode


@pytest.fixture(scope="session")
def source() -> PretrainedEncoder:
    return load_encoder("minilm")


@pytest.fixture(scope="session")
def task() -> Task:
    return builtin_task("sentiment")


@pytest.fixture(scope="session")
def split(source: PretrainedEncoder, task: Task) -> EncodedSplit:
    return encode(source.tokenizer, task.train[:512], regression=False, max_length=128)
