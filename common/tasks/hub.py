"""Tasks from the Hugging Face Hub, at pinned revisions.

`datasets.load_dataset` downloads once and caches; the revision is part of the request, so a data set that
changes upstream does not change our numbers. Without a network the user is told which other source to type; a
run never changes its source by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from common.errors import UserError
from common.tasks.catalogue import TaskFacts, find_facts, known_tasks, unknown_task
from common.tasks.task import Example, Task


@dataclass(frozen=True, slots=True)
class HubSet:
    """Where a task lives on the Hub.

    Attributes:
        repository, config, revision: what `load_dataset` is given.
        dev: the split that results are reported on (labels of GLUE's test splits are hidden).
        text_a, text_b, label: column names.
    """

    repository: str
    config: str | None
    revision: str
    dev: str
    text_a: str
    text_b: str | None = None
    label: str = "label"


TIMEOUT_SECONDS = 10.0

# The commits that wrote the Parquet files: what the repositories' `main` has resolved to since 2024, and what
# published results and lock files pin. A commit hash is immutable.
_GLUE_COMMIT = "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c"
_IMDB_COMMIT = "e6281661ce1c48d982bc483cf8a173c1bbeb5d31"
_AG_NEWS_COMMIT = "eb185aade064a813bc0b7f42de02595523103ca4"
# CogComp/trec has a loading script, which `datasets` no longer runs; the Hub's own Parquet conversion is a
# branch, not a commit, so this one is pinned by name alone.
_PARQUET_BRANCH = "refs/convert/parquet"


def _glue(config: str, text_a: str, text_b: str | None = None, dev: str = "validation") -> HubSet:
    return HubSet("nyu-mll/glue", config, _GLUE_COMMIT, dev, text_a, text_b)


HUB_SETS: Mapping[str, HubSet] = MappingProxyType(
    {
        "sst-2": _glue("sst2", "sentence"),
        "cola": _glue("cola", "sentence"),
        "mrpc": _glue("mrpc", "sentence1", "sentence2"),
        "rte": _glue("rte", "sentence1", "sentence2"),
        "sts-b": _glue("stsb", "sentence1", "sentence2"),
        "qnli": _glue("qnli", "question", "sentence"),
        "qqp": _glue("qqp", "question1", "question2"),
        "mnli": _glue("mnli", "premise", "hypothesis", dev="validation_matched"),
        "trec": HubSet("CogComp/trec", None, _PARQUET_BRANCH, "test", "text", label="coarse_label"),
        "imdb": HubSet("stanfordnlp/imdb", None, _IMDB_COMMIT, "test", "text"),
        "ag-news": HubSet("fancyzhx/ag_news", None, _AG_NEWS_COMMIT, "test", "text"),
    }
)


def hub_task(name: str) -> Task:
    """Download a task, or take it from the cache of an earlier download.

    Raises:
        UserError: no such task, no network, or data of another shape than expected.
    """
    facts = find_facts(name)
    if facts is None or facts.name not in HUB_SETS:
        raise unknown_task(name, known_tasks("hub"), "DATA=hub")
    hub_set = HUB_SETS[facts.name]
    train = tuple(_examples(facts, hub_set, "train"))
    dev = tuple(_examples(facts, hub_set, hub_set.dev))
    return Task(facts.name, facts.labels, facts.metric, "hub", train, dev)


def _examples(facts: TaskFacts, hub_set: HubSet, split: str) -> Iterator[Example]:
    rows = load_split(facts.name, hub_set, split)
    where = f"{hub_set.repository}@{hub_set.revision} ({split})"
    needed = [column for column in (hub_set.text_a, hub_set.text_b, hub_set.label) if column]
    missing = [column for column in needed if column not in rows.column_names]
    if missing:
        raise UserError(
            f"{where}: no column '{missing[0]}'; columns found: {', '.join(rows.column_names)}. "
            "Empty the cache of `datasets` and try again, or use DATA=files."
        )
    second = rows[hub_set.text_b] if hub_set.text_b else [None] * len(rows)
    for text_a, text_b, label in zip(rows[hub_set.text_a], second, rows[hub_set.label], strict=True):
        if facts.labels and not 0 <= label < len(facts.labels):
            raise UserError(f"{where}: label {label} is none of 0..{len(facts.labels) - 1}: hidden labels?")
        yield Example(text_a, text_b, float(label))


def load_split(name: str, hub_set: HubSet, split: str) -> Any:  # noqa: ANN401
    """One split of a set as a `datasets.Dataset`.

    Raises:
        UserError: it cannot be had; the message says what to type instead.
    """
    import datasets

    repository, revision = hub_set.repository, hub_set.revision
    with _explained(name, repository, revision):
        return datasets.load_dataset(repository, hub_set.config, revision=revision, split=split)


def hub_rows(name: str, repository: str, config: str, revision: str) -> Iterator[Mapping[str, Any]]:
    """The rows of a training split as they come: no more is downloaded than is read.

    Raises:
        UserError: no network, or no such data set.
    """
    import datasets

    with _explained(name, repository, revision):
        yield from datasets.load_dataset(repository, config, revision=revision, split="train", streaming=True)


@contextmanager
def _explained(name: str, repository: str, revision: str) -> Iterator[None]:
    """Ask for the repository, which fails at once where there is no network, and say what to do about any failure."""
    import datasets
    import huggingface_hub

    # The base error of whichever HTTP client this version is built on (httpx, httpx2).
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    try:
        if not huggingface_hub.is_offline_mode():
            # `load_dataset` repeats a failing request for half a minute; this one fails at once.
            huggingface_hub.HfApi().dataset_info(repository, revision=revision, timeout=TIMEOUT_SECONDS)
        yield
    except (OSError, ValueError, HTTPError, datasets.exceptions.DatasetsError) as error:
        # Offline mode, no route, an unknown repository and a failed download arrive as many classes; what the
        # user can do about them is the same.
        raise UserError(
            f"cannot get '{name}' from the Hub ({repository}@{revision}): "
            f"{type(error).__name__}: {_first_line(error)} "
            "Check the network, or set HF_HUB_OFFLINE=1 if it was downloaded before, or work without it: "
            "DATA=files DATA_DIR=path/to/data, or DATA=builtin."
        ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    text = lines[0][:200] if lines else "no reason given"
    return text if text.endswith(".") else f"{text}."
