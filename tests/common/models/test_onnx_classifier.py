"""A classifier in ONNX Runtime answers what it answers in PyTorch."""

from pathlib import Path

import onnx
import pytest
import torch
from kit.toy_splits import split_of

from common.encoders.pooling import FIRST_TOKEN, MEAN
from common.encoders.shapes import random_encoder
from common.models import onnx_file
from common.models.classifier import EncoderClassifier, PooledClassifier
from common.models.onnx_file import LIBRARIES, missing_libraries, write_int8, write_onnx
from common.models.onnx_session import OnnxModel

KINDS = [("tiny", MEAN), ("tiny-roberta", FIRST_TOKEN), ("tiny-albert", FIRST_TOKEN), ("tiny-mpnet", MEAN)]


def classifier_of(shape: str, pooling: str) -> EncoderClassifier:
    torch.manual_seed(0)
    encoder = random_encoder(shape).first_layers(2)
    return EncoderClassifier(encoder, PooledClassifier(encoder.hidden_size, 3), pooling).eval()


@pytest.mark.parametrize(("shape", "pooling"), KINDS)
def test_logits_are_those_of_pytorch_alone_and_in_padded_batches(shape: str, pooling: str, tmp_path: Path) -> None:
    classifier = classifier_of(shape, pooling)
    write_onnx(classifier, tmp_path / "full.onnx")
    model = OnnxModel(tmp_path / "full.onnx")
    split = split_of(9, segments=shape in ("tiny", "tiny-albert"))
    for rows in ([0], [4], range(9)):
        batch = split.batch(rows)
        with torch.inference_mode():
            torch.testing.assert_close(model(batch), classifier(batch), atol=1e-4, rtol=0)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "full.onnx"
    write_onnx(classifier_of("tiny", MEAN), path)
    return path


def test_a_batch_without_types_of_tokens_is_one_of_first_texts(full: Path) -> None:
    batch = split_of(3).batch([0, 1, 2])
    assert batch.token_type_ids is None
    with torch.inference_mode():
        torch.testing.assert_close(OnnxModel(full)(batch), classifier_of("tiny", MEAN)(batch), atol=1e-4, rtol=0)


def test_in_int8_every_linear_layer_is_quantised_and_the_answers_are_near(full: Path, tmp_path: Path) -> None:
    classifier = classifier_of("tiny", MEAN)
    write_int8(full, tmp_path / "int8.onnx")
    kinds = [node.op_type for node in onnx.load(tmp_path / "int8.onnx").graph.node]
    assert kinds.count("MatMulInteger") == 2 * 6 + 2, "two layers of six linear maps, and the head's two"
    batch = split_of(9, segments=True).batch(range(9))
    with torch.inference_mode():
        exact, found = classifier(batch), OnnxModel(tmp_path / "int8.onnx")(batch)
    assert not torch.equal(exact, found)
    assert (exact - found).abs().max() < 0.1 * exact.std()


def test_a_session_has_the_threads_that_pytorch_has_when_it_computes(full: Path) -> None:
    """A contender is made before the clock pins the threads."""
    model, batch = OnnxModel(full), split_of(3).batch([0, 1])
    before = torch.get_num_threads()
    try:
        for threads in (2, 1):
            torch.set_num_threads(threads)
            model(batch)
            options = model._session.get_session_options()
            assert (options.intra_op_num_threads, options.inter_op_num_threads) == (threads, 1)
    finally:
        torch.set_num_threads(before)


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing_libraries() == []
    monkeypatch.setattr(onnx_file, "LIBRARIES", (*LIBRARIES, "no_such_library"))
    assert missing_libraries() == ["no_such_library"]
