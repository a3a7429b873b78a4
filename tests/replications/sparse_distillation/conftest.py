"""A run so small that a teacher and its students train in a second or two, on text written for the occasion."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_student import CORPUS, DESIGN, student
from toy_texts import TOY_SCALE, toy_settings, write_reviews

from common.artifacts import ArtifactStore
from common.replication import Run
from common.scales import SCALES
from replications.sparse_distillation.ngrams import Vocabulary, build_vocabulary
from replications.sparse_distillation.predictor import Predictor
from replications.sparse_distillation.settings import SETTINGS


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """IMDB and SST-2 as people have them on disk."""
    folder = tmp_path / "data"
    write_reviews(folder / "imdb", "text\tlabel", ("train.tsv", "test.tsv"), markup=True, seed=1)
    write_reviews(folder / "sst2", "sentence\tlabel", ("train.tsv", "dev.tsv"), markup=False, seed=2)
    return folder


@pytest.fixture
def toy_run(tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run over `data_dir` at a scale of its own, with a random teacher."""
    monkeypatch.setitem(SETTINGS, "toy", toy_settings())
    monkeypatch.setitem(SCALES, "toy", TOY_SCALE)
    store = ArtifactStore(tmp_path / "store")
    return Run(
        "toy", TOY_SCALE, "files", data_dir, (), (0,), store, tmp_path, lambda done, total: None, lambda text: None
    )


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    return build_vocabulary(lambda: CORPUS, DESIGN.vocabulary_size, scratch=tmp_path_factory.mktemp("scratch"))


@pytest.fixture(scope="session")
def single(vocabulary: Vocabulary) -> Predictor:
    return student(vocabulary)


@pytest.fixture(scope="session")
def double(vocabulary: Vocabulary) -> Predictor:
    return student(vocabulary, pair=True)


@pytest.fixture
def home(single: Predictor, tmp_path: Path) -> Path:
    single.save(DESIGN, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def pair_home(double: Predictor, tmp_path: Path) -> Path:
    double.save(DESIGN, tmp_path / "pair")
    return tmp_path / "pair"
