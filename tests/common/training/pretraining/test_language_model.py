"""The head against transformers' own masked-language models on the same weights, and what it costs."""

from pathlib import Path
from typing import Any

import pytest
import torch
from kit.toy_text import documents, text_of, words
from safetensors.torch import save_file
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AlbertForMaskedLM,
    BertForMaskedLM,
    DistilBertConfig,
    DistilBertForMaskedLM,
    MPNetForMaskedLM,
    RobertaForMaskedLM,
)

from common.costs.flops import EncoderShape
from common.encoders.layered import LayeredEncoder
from common.encoders.shapes import find_shape, random_encoder
from common.errors import UserError
from common.training.pretraining.batches import MaskedBatch, MaskedBatches
from common.training.pretraining.language_model import (
    PUBLISHED,
    LanguageHead,
    MaskedLanguageModel,
    language_loss,
    published_head,
)
from common.training.pretraining.masking import Uniform
from common.training.pretraining.pretrainer import head_work
from common.training.pretraining.rows import PackedRows

MODELS = {
    "tiny": (BertForMaskedLM, "bert"),
    "tiny-roberta": (RobertaForMaskedLM, "roberta"),
    "tiny-albert": (AlbertForMaskedLM, "albert"),
    "tiny-mpnet": (MPNetForMaskedLM, "mpnet"),
}


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> MaskedBatch:
    text = text_of(tmp_path_factory.mktemp("text"), documents(20))
    return next(MaskedBatches(PackedRows(text, words(), 24), words(), Uniform(), batch_size=4, seed=0).epoch(0))


def theirs_of(shape: str) -> Any:
    """A model of transformers with random weights, those of norms and biases too."""
    torch.manual_seed(5)
    model = MODELS[shape][0](find_shape(shape).config()).eval()
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, mean=1.0 if "orm.weight" in name else 0.0, std=0.2)
    return model


@pytest.mark.parametrize("shape", MODELS)
def test_logits_are_those_of_transformers_at_the_masked_positions(
    shape: str, batch: MaskedBatch, tmp_path: Path
) -> None:
    theirs = theirs_of(shape)
    encoder = LayeredEncoder(getattr(theirs, MODELS[shape][1]), pooler_is_pretrained=False)
    state = {name: tensor.clone() for name, tensor in theirs.state_dict().items()}
    save_file(state, tmp_path / "model.safetensors")
    head = published_head(tmp_path, encoder)
    assert head is not None
    model = MaskedLanguageModel(encoder, head).eval()
    with torch.inference_mode():
        expected = theirs(input_ids=batch.input_ids).logits.flatten(0, 1)[batch.places]
        torch.testing.assert_close(model(batch), expected, rtol=1e-5, atol=1e-5)


def test_distilberts_head_is_the_same(batch: MaskedBatch) -> None:
    """Its names differ; map, activation, norm and the tied table do not."""
    config = DistilBertConfig(dim=64, n_layers=2, n_heads=4, hidden_dim=128)
    torch.manual_seed(2)
    theirs = DistilBertForMaskedLM(config).eval()
    head = LanguageHead(64, 64, config.vocab_size)
    head.load_state_dict(
        {
            "dense.weight": theirs.vocab_transform.weight,
            "dense.bias": theirs.vocab_transform.bias,
            "norm.weight": theirs.vocab_layer_norm.weight,
            "norm.bias": theirs.vocab_layer_norm.bias,
            "bias": theirs.vocab_projector.bias,
        }
    )
    states = torch.randn(7, 64)
    with torch.inference_mode():
        x = theirs.vocab_layer_norm(theirs.activation(theirs.vocab_transform(states)))
        expected = theirs.vocab_projector(x)
        found = head(states, theirs.distilbert.embeddings.word_embeddings.weight)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert sum(p.numel() for p in LanguageHead(768, 768, 30522).parameters()) == 622_650


def test_the_table_is_the_encoders_own_and_both_uses_of_it_teach_it(batch: MaskedBatch) -> None:
    model = MaskedLanguageModel(random_encoder("tiny"), LanguageHead.fresh(random_encoder("tiny"), 0))
    assert model.table is model.encoder.model.embeddings.word_embeddings.weight
    assert sum("word_embeddings" in name for name, _ in model.named_parameters()) == 1
    language_loss(model, batch).backward()
    assert model.table.grad is not None
    shown = set(batch.input_ids.flatten().tolist())
    taught = model.table.grad.abs().sum(1) > 0
    assert taught.sum() > len(shown), "words that no input shows are moved by the head"


def test_the_head_is_computed_on_the_masked_positions_alone(batch: MaskedBatch) -> None:
    """FLOPs of the head are those of 15 in 100 positions, and no logits of others exist."""
    model = MaskedLanguageModel(random_encoder("tiny"), LanguageHead.fresh(random_encoder("tiny"), 0)).eval()
    seen: list[int] = []
    model.head.register_forward_hook(lambda _m, _i, out: seen.append(out.shape[0]))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        states = model.states(batch)
        before = counter.get_total_flops()
        model.logits_at(states, batch.places)
        spent = counter.get_total_flops() - before
    assert seen == [len(batch.places)] and len(batch.places) < 0.2 * batch.tokens
    shape = EncoderShape.from_config(model.encoder.config)
    assert spent == pytest.approx(batch.tokens * head_work(shape, len(batch.places) / batch.tokens, trained=False))


def test_a_head_with_counts_begins_as_the_unigram_model() -> None:
    counts = torch.zeros(30522)
    counts[2000:2010] = 100.0
    head = LanguageHead.fresh(random_encoder("tiny"), 0, counts)
    share = torch.softmax(head.bias.detach(), dim=0)
    assert share[2000:2010].sum().item() == pytest.approx(1005 / (1000 + 30522 * 0.5), rel=1e-3)


@pytest.mark.parametrize("shape", ["tiny", "tiny-albert"])
def test_a_model_survives_saving(shape: str, batch: MaskedBatch, tmp_path: Path) -> None:
    encoder = random_encoder(shape)
    model = MaskedLanguageModel(encoder, LanguageHead.fresh(encoder, 3)).eval()
    model.save(tmp_path)
    with torch.inference_mode():
        torch.testing.assert_close(MaskedLanguageModel.load(tmp_path)(batch), model(batch), rtol=0, atol=0)


def test_norms_of_old_checkpoints_are_called_gamma_and_beta(tmp_path: Path) -> None:
    encoder = random_encoder("tiny")
    head = LanguageHead.fresh(encoder, 1)
    dense, norm, bias = PUBLISHED["bert"]
    state = {f"{dense}.weight": head.dense.weight, f"{dense}.bias": head.dense.bias, bias: head.bias}
    state |= {f"{norm}.gamma": torch.full((64,), 2.0), f"{norm}.beta": torch.full((64,), 3.0)}
    save_file({name: tensor.detach().clone() for name, tensor in state.items()}, tmp_path / "model.safetensors")
    found = published_head(tmp_path, encoder)
    assert found is not None
    assert found.norm.weight[0] == 2.0 and found.norm.bias[0] == 3.0


def test_a_checkpoint_without_a_head_has_none_and_one_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    encoder = random_encoder("tiny")
    save_file({"embeddings.weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    assert published_head(tmp_path, encoder) is None
    dense, norm, bias = PUBLISHED["bert"]
    state = {f"{dense}.weight": torch.zeros(8, 8), f"{dense}.bias": torch.zeros(8), bias: torch.zeros(30522)}
    state |= {f"{norm}.weight": torch.zeros(8), f"{norm}.bias": torch.zeros(8)}
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="does not fit its encoder"):
        published_head(tmp_path, encoder)
