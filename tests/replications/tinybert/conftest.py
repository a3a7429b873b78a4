"""A small teacher and its student, for the tests of TinyBERT."""

import pytest
from tiny_pair import SIZE

from common.encoders.layered import LayeredEncoder
from common.encoders.shapes import random_encoder
from replications.tinybert.method import Student


@pytest.fixture(scope="module")
def teacher() -> LayeredEncoder:
    return random_encoder("tiny", seed=0).eval()


@pytest.fixture
def student(teacher: LayeredEncoder) -> Student:
    return Student.fresh(SIZE.shape(teacher.config), teacher.hidden_size, seed=1).eval()
