"""A small teacher for the tests of DistilBERT."""

import torch

from common.encoders.shapes import random_encoder
from common.training.pretraining.language_model import LanguageHead, MaskedLanguageModel


def language_model(shape: str = "tiny") -> MaskedLanguageModel:
    """A teacher with weights that differ from any default, norms and biases too."""
    encoder = random_encoder(shape, seed=4)
    model = MaskedLanguageModel(encoder, LanguageHead.fresh(encoder, 5))
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
        for name, table in model.encoder.model.embeddings.named_parameters():
            if "token_type" in name:
                table += 0.5 * torch.randn(table.shape, generator=generator)
    return model.eval().requires_grad_(False)
