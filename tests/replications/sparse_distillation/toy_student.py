"""A student over a corpus of four sentences, untrained: what it answers is arbitrary, and always the same."""

from pathlib import Path

import torch

from common.records.measurements import write_json
from common.serve.about import MODEL, SETTINGS, About, hashes
from replications.sparse_distillation.design import Design, Student
from replications.sparse_distillation.engine.ngrams import Vocabulary
from replications.sparse_distillation.names import CONTENDER

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


def student(vocabulary: Vocabulary, design: Design = DESIGN, *, pair: bool = False) -> Student:
    """Ready to answer, with weights of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = design.build(len(vocabulary), len(LABELS), pair=pair)
        for layer in model.layers:
            torch.nn.init.normal_(layer.weight, std=0.5)
    return model.eval()


def saved(model: Student, vocabulary: Vocabulary, folder: Path, *, pair: bool = False) -> Path:
    """The folder of a student, as `common.serve.save` writes one; it reads 1,000 words of a text."""
    (folder / MODEL).mkdir(parents=True)
    model.save(folder / MODEL)
    vocabulary.save(folder / MODEL)
    about = About(
        method=CONTENDER, setting="", at=0.0, offered_by="replications.sparse_distillation", facts={"max_words": 1000},
        task="mood", labels=LABELS, metric="accuracy", pair=pair, reading=None, backbone="large",
        weights="random:large", seed=0, files=hashes(folder), versions={},
    )  # fmt: skip
    write_json(folder / SETTINGS, about.model_dump(mode="json"))
    return folder
