"""A student over a corpus of four sentences, untrained: what it answers is arbitrary, and always the same."""

import torch

from replications.sparse_distillation.design import Design
from replications.sparse_distillation.engine.ngrams import Vocabulary
from replications.sparse_distillation.home import Labels, Predictor, fingerprint

CORPUS = (
    "a great film, a GREAT film with great actors",
    "not a great film: the actors are not great and the end is not good",
    "the end is good and the film is not long",
    "Ein großer Film über große Gefühle, und nicht zu lang",
)
LABELS = ("bad", "fair", "good")
TEXTS = (
    "the great film is not a film",
    "not great not great not great",
    "große Gefühle with an unknown word",
    "",
    "I ? !",
    "nothing here is known but film",
)
DESIGN = Design(60, 8, deviation=0.5)


def student(vocabulary: Vocabulary, design: Design = DESIGN, *, pair: bool = False) -> Predictor:
    """Ready to answer, with weights of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = design.build(len(vocabulary), len(LABELS), pair=pair)
        for layer in model.layers:
            torch.nn.init.normal_(layer.weight, std=0.5)
    about = Labels(task="mood", labels=LABELS, teacher="large", vocabulary=fingerprint(vocabulary))
    return Predictor(model.eval(), vocabulary, about)
