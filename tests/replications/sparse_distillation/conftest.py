"""A run so small that a teacher and its students train in a second or two, on text written for the occasion."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from kit.toy_run import quiet
from toy_student import CORPUS, DESIGN, saved, student
from toy_texts import TOY_SCALE, toy_settings, write_reviews

from common.records.measurements import Measurement
from common.records.predictions import Evidence
from common.run.artifacts import ArtifactStore
from common.run.replication import Run
from common.scales import SCALES
from replications.sparse_distillation.design import Student
from replications.sparse_distillation.engine.ngrams import Vocabulary, build_vocabulary
from replications.sparse_distillation.experiments import trained_steps
from replications.sparse_distillation.settings import SETTINGS


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """IMDB and SST-2 as people have them on disk."""
    return reviews_in(tmp_path / "data")


def reviews_in(folder: Path) -> Path:
    write_reviews(folder / "imdb", "text\tlabel", ("train.tsv", "test.tsv"), markup=True, seed=1)
    write_reviews(folder / "sst2", "sentence\tlabel", ("train.tsv", "dev.tsv"), markup=False, seed=2)
    return folder


@pytest.fixture
def toy_run(tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run over `data_dir` at a scale of its own, with a random teacher."""
    return run_in(tmp_path, data_dir, monkeypatch)


def run_in(folder: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setitem(SETTINGS, "toy", toy_settings())
    monkeypatch.setitem(SCALES, "toy", TOY_SCALE)
    store = ArtifactStore(folder / "store")
    return Run("toy", TOY_SCALE, "files", data_dir, (), (0,), store, folder, quiet, lambda text: None)


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Measurement], list[Evidence]]:
    """All rows and all evidence of a run on both tasks."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as monkeypatch:
        run = replace(run_in(folder, reviews_in(folder / "data"), monkeypatch), task_names=("imdb", "sst-2"))
        return [row for step in trained_steps(run) for row in step.measure()], run.evidence


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    return build_vocabulary(lambda: CORPUS, DESIGN.vocabulary_size, scratch=tmp_path_factory.mktemp("scratch"))


@pytest.fixture(scope="session")
def single(vocabulary: Vocabulary) -> Student:
    return student(vocabulary)


@pytest.fixture(scope="session")
def double(vocabulary: Vocabulary) -> Student:
    return student(vocabulary, pair=True)


@pytest.fixture
def home(single: Student, vocabulary: Vocabulary, tmp_path: Path) -> Path:
    return saved(single, vocabulary, tmp_path / "home")


@pytest.fixture
def pair_home(double: Student, vocabulary: Vocabulary, tmp_path: Path) -> Path:
    return saved(double, vocabulary, tmp_path / "pair", pair=True)
