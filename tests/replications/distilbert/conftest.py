"""Fixtures of DistilBERT's tests: masked text, a small teacher and its student."""

import pytest
from kit.toy_text import documents, text_of, words
from toy_teacher import language_model

from common.training.pretraining.batches import MaskedBatch, MaskedBatches
from common.training.pretraining.language_model import MaskedLanguageModel
from common.training.pretraining.masking import Uniform
from common.training.pretraining.rows import SegmentPairs
from replications.distilbert.method import student_of


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> MaskedBatch:
    """Rows of unequal length, so that there is padding."""
    text = text_of(tmp_path_factory.mktemp("text"), documents(20))
    found = next(MaskedBatches(SegmentPairs(text, words(), 48), words(), Uniform(), batch_size=6, seed=0).epoch(0))
    assert not found.present.all()
    return found


@pytest.fixture
def teacher() -> MaskedLanguageModel:
    return language_model()


@pytest.fixture
def student(teacher: MaskedLanguageModel) -> MaskedLanguageModel:
    return student_of(teacher, (1, 4), seed=0).eval()
