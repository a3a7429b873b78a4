"""What is looked at in the backbone: each check bites on a broken copy and is silent on the one that is loaded."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from common.doctor import backbone
from common.encoders.layered import LayeredEncoder
from common.encoders.sources import PretrainedEncoder, load_encoder


@pytest.fixture(scope="module", params=["random:tiny", "random:tiny-mpnet"])
def source(request: pytest.FixtureRequest) -> PretrainedEncoder:
    return load_encoder(request.param)


@pytest.fixture
def tiny() -> PretrainedEncoder:
    return load_encoder("random:tiny")


class Deaf(LayeredEncoder):
    """Its layers do not see which tokens are padding."""

    def layer(self, i: int, h: Tensor, mask: Tensor | None) -> Tensor:
        return super().layer(i, h, None)


class NoNumber(LayeredEncoder):
    """Where something is padded it answers NaN, as a softmax over nothing does."""

    def layer(self, i: int, h: Tensor, mask: Tensor | None) -> Tensor:
        return super().layer(i, h, mask) if mask is None else torch.full_like(h, torch.nan)


def with_class(source: PretrainedEncoder, kind: type[LayeredEncoder]) -> PretrainedEncoder:
    return replace(source, encoder=kind(source.encoder.model, pooler_is_pretrained=False).eval())


def test_padding_leaves_a_sound_backbone_alone(source: PretrainedEncoder) -> None:
    assert list(backbone.padding(source)) == []


@pytest.mark.parametrize("kind", [Deaf, NoNumber])
def test_a_backbone_that_reads_its_padding_is_broken(tiny: PretrainedEncoder, kind: type[LayeredEncoder]) -> None:
    found = list(backbone.padding(with_class(tiny, kind)))
    assert {one.kind for one in found} == {"broken"}
    assert any("its mean by" in one.what for one in found)


def test_pooling_over_padding_is_broken(tiny: PretrainedEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(backbone.POOLINGS, "mean", lambda hidden, mask: hidden.mean(1))  # type: ignore[arg-type]
    (found,) = backbone.padding(tiny)
    assert found.kind == "broken" and "its mean by" in found.what


def test_what_is_timed_is_float32(source: PretrainedEncoder) -> None:
    assert list(backbone.precision_of_timing(source.encoder)) == []


def test_other_weights_are_broken(tiny: PretrainedEncoder) -> None:
    (found,) = backbone.precision_of_timing(tiny.encoder.bfloat16())
    assert found.kind == "broken" and "torch.bfloat16" in found.what


@pytest.fixture
def restored() -> Iterator[None]:
    dtype, precision = torch.get_default_dtype(), torch.get_float32_matmul_precision()
    yield
    torch.set_default_dtype(dtype)
    torch.set_float32_matmul_precision(precision)


@pytest.mark.parametrize(
    "change",
    [lambda: torch.set_default_dtype(torch.float64), lambda: torch.set_float32_matmul_precision("medium")],
)
def test_coarser_products_and_new_numbers_are_broken(tiny: PretrainedEncoder, restored: None, change: Any) -> None:
    change()
    (found,) = backbone.precision_of_timing(tiny.encoder)
    assert found.kind == "broken"


def test_attention_is_the_kernel_of_the_records(source: PretrainedEncoder) -> None:
    assert list(backbone.attention(source.encoder)) == []


def test_another_kernel_is_said(tiny: PretrainedEncoder) -> None:
    tiny.encoder.set_attention("eager")
    (found,) = backbone.attention(tiny.encoder)
    assert found.kind == "doubtful" and "'eager'" in found.what and "'sdpa'" in found.what


@pytest.mark.parametrize(("recorded", "expected"), [(None, 0), ("float32", 0), ("bfloat16", 1)])
def test_training_in_another_precision_than_the_record(recorded: str | None, expected: int) -> None:
    found = list(backbone.precision_of_training("float32", recorded, "mini-builtin"))
    assert len(found) == expected
    assert all(one.kind == "doubtful" and "in bfloat16 for the recorded mini-builtin" in one.what for one in found)
