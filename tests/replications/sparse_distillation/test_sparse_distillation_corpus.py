"""The unlabelled corpora: which texts are in them, and above all which are not."""

import random
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from toy_texts import write_squad

from common.errors import UserError
from common.run.replication import Run
from common.tasks import load_task
from common.tasks.task import Example, Task
from replications.sparse_distillation import corpus as corpus_module
from replications.sparse_distillation.corpus import check_unlabelled, unlabelled
from replications.sparse_distillation.experiments import trained_steps

PLENTY = 10**9


def texts(examples: tuple[Example, ...]) -> list[str]:
    return [text for e in examples for text in (e.text_a, e.text_b) if text is not None]


def labelled(task: Task) -> set[str]:
    return set(texts((*task.train, *task.tune, *task.dev)))


loaded_once = cache(load_task)


@pytest.fixture
def builtin_run(toy_run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(corpus_module, "load_task", loaded_once)
    monkeypatch.setattr("common.tasks.load_task", loaded_once)
    return replace(toy_run, data="builtin", data_dir=None, scale=replace(toy_run.scale, train_examples=2000))


# -- builtin ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sentiment", "paraphrase"])
def test_no_text_of_the_generated_task_is_in_its_corpus(builtin_run: Run, name: str) -> None:
    corpus = unlabelled(builtin_run, name, PLENTY, 128)
    assert len(corpus) > 10_000
    assert not set(texts(corpus)) & labelled(builtin_run.task(name))
    assert {e.label for e in corpus} == {0.0}


def test_pairs_are_drawn_at_random_from_both_sides(builtin_run: Run) -> None:
    corpus = unlabelled(builtin_run, "paraphrase", 20_000, 128)
    assert all(e.text_b is not None for e in corpus)
    whole = {(e.text_a, e.text_b) for e in builtin_run.task("paraphrase").train}
    assert not {(e.text_a, e.text_b) for e in corpus} & whole
    assert sum(e.text_a == e.text_b for e in corpus) <= 3
    # A text is first once and second once at most: all of C is seen, nothing twice.
    for side in ([e.text_a for e in corpus], [e.text_b for e in corpus]):
        assert len(set(side)) == len(side)


def test_single_texts_stay_single(builtin_run: Run) -> None:
    assert all(e.text_b is None for e in unlabelled(builtin_run, "sentiment", 500, 128))


@pytest.mark.parametrize("name", ["sentiment", "paraphrase"])
@pytest.mark.parametrize("words", [1, 500, 3000])
def test_the_budget_is_reached_and_not_passed_by_more_than_a_text(builtin_run: Run, name: str, words: int) -> None:
    corpus = unlabelled(builtin_run, name, words, 10)
    counted = [min(10, len(" ".join(texts((e,))).split())) for e in corpus]
    assert words <= sum(counted) < words + 10


def test_the_same_run_has_the_same_corpus_and_more_words_only_add_to_it(builtin_run: Run) -> None:
    small = unlabelled(builtin_run, "sentiment", 500, 128)
    assert small == unlabelled(builtin_run, "sentiment", 500, 128)
    large = unlabelled(builtin_run, "sentiment", 1500, 128)
    assert large[: len(small)] == small
    assert [e.text_a for e in large] != sorted(e.text_a for e in large)


def test_a_scale_that_uses_every_text_as_an_example_leaves_no_corpus(builtin_run: Run) -> None:
    everything = replace(builtin_run, scale=replace(builtin_run.scale, train_examples=None), _tasks={})
    with pytest.raises(UserError, match="unlabelled text.*smaller SCALE"):
        unlabelled(everything, "sentiment", 500, 128)


# -- files ------------------------------------------------------------------------------------------------------------


def test_imdb_is_distilled_on_its_other_reviews_without_markup(toy_run: Run) -> None:
    task = toy_run.task("imdb")
    assert all("<br" in e.text_a for e in task.train), (
        "the labelled examples keep it, so texts differ by more than case"
    )
    corpus = texts(unlabelled(toy_run, "imdb", PLENTY, 128))
    plain = {text.replace("<br /><br />", "  ") for text in labelled(task)}
    assert len(corpus) == 90 - 48 - 8
    assert not any("<" in text for text in corpus)
    assert not set(corpus) & plain


def test_a_test_review_that_is_in_the_training_file_too_is_left_out(toy_run: Run, data_dir: Path) -> None:
    train = "\n".join(f"wonderful number {i} of many<br />\t{i % 2}" for i in range(80))
    test = "\n".join(f"wonderful number {i} of many<br />\t{i % 2}" for i in range(70, 90))
    (data_dir / "imdb" / "train.tsv.gz").unlink()
    (data_dir / "imdb" / "train.tsv").write_text(f"text\tlabel\n{train}\n")
    (data_dir / "imdb" / "test.tsv").write_text(f"text\tlabel\n{test}\n")
    whole_dev = replace(toy_run, scale=replace(toy_run.scale, dev_examples=None))
    corpus = texts(unlabelled(whole_dev, "imdb", PLENTY, 128))
    assert corpus
    assert not {int(text.split()[2]) for text in corpus} & set(range(70, 90))


def test_sst_2_is_distilled_on_sentences_of_reviews(toy_run: Run) -> None:
    corpus = texts(unlabelled(toy_run, "sst-2", PLENTY, 128))
    assert any(text.endswith("went on.") for text in corpus)
    assert any(text.startswith("Then") for text in corpus)
    assert all(3 <= len(text.split()) <= 60 for text in corpus)
    assert len(set(corpus)) == len(corpus)


def write_trec(data_dir: Path) -> None:
    folder = data_dir / "trec"
    folder.mkdir()
    lines = [f"{'NUM:count' if i % 2 else 'LOC:city'} What is number {i} ?" for i in range(80)]
    (folder / "train.txt").write_text("\n".join(lines))
    (folder / "test.txt").write_text("\n".join(lines[:9]))


def test_trec_is_distilled_on_the_questions_of_squad(toy_run: Run, data_dir: Path) -> None:
    write_trec(data_dir)
    write_squad(data_dir / "squad1.1", [" Who wrote it? ", "When was it built?", "Who wrote it?"])
    assert sorted(texts(unlabelled(toy_run, "trec", PLENTY, 128))) == ["When was it built?", "Who wrote it?"]


def test_without_squad_the_message_names_what_is_missing(toy_run: Run, data_dir: Path) -> None:
    write_trec(data_dir)
    with pytest.raises(UserError, match="no folder 'squad1.1'"):
        unlabelled(toy_run, "trec", PLENTY, 128)


def test_question_pairs_are_random_pairs_of_questions(toy_run: Run, data_dir: Path) -> None:
    (data_dir / "qqp_sample").mkdir()
    for name in ("train.tsv", "dev.tsv"):
        rows = [f"Is it {i} ?\tIs it {i + 1} ?\t{i % 2}" for i in range(60)]
        (data_dir / "qqp_sample" / name).write_text("\n".join(["question1\tquestion2\tis_duplicate", *rows]))
    questions = [f"Where is place {i}?" for i in range(50)]
    write_squad(data_dir / "squad1.1", questions)
    corpus = unlabelled(toy_run, "qqp-sample", PLENTY, 128)
    assert sorted(e.text_a for e in corpus) == sorted(questions)
    assert sorted(str(e.text_b) for e in corpus) == sorted(questions)
    assert sum(e.text_a == e.text_b for e in corpus) < 5


def test_ag_news_is_distilled_on_paragraphs_cut_to_60_words(toy_run: Run, data_dir: Path) -> None:
    rng = random.Random(0)
    (data_dir / "ag_news").mkdir()
    for name in ("train_sample.tsv", "test.tsv"):
        rows = [f"news of day {rng.random()}\t{i % 4}" for i in range(60)]
        (data_dir / "ag_news" / name).write_text("\n".join(["text\tlabel", *rows]))
    (data_dir / "wiki_en_2021").mkdir()
    long, short, middle = "long " * 100, "short " * 19, "middle " * 20
    (data_dir / "wiki_en_2021" / "train.txt").write_text(f"{long}\n\n{short}\n{middle}\n")
    found = sorted(texts(unlabelled(toy_run, "ag-news", PLENTY, 128)))
    assert found == [("long " * 60).strip(), middle.strip()]


def write_own(data_dir: Path) -> None:
    (data_dir / "mails").mkdir()
    for name in ("train.csv", "dev.csv"):
        rows = [f"mail {i} of {name},{'spam' if i % 2 else 'ham'}" for i in range(40)]
        (data_dir / "mails" / name).write_text("\n".join(["text,label", *rows]))


def test_a_task_of_ones_own_takes_a_corpus_of_ones_own(toy_run: Run, data_dir: Path) -> None:
    write_own(data_dir)
    (data_dir / "mails-unlabelled").mkdir()
    (data_dir / "mails-unlabelled" / "train.txt").write_text("one more mail\n\n  and another  \n")
    assert sorted(texts(unlabelled(toy_run, "mails", PLENTY, 128))) == ["and another", "one more mail"]


def test_texts_of_the_task_are_not_in_a_corpus_of_ones_own(toy_run: Run, data_dir: Path) -> None:
    write_own(data_dir)
    (data_dir / "mails-unlabelled").mkdir()
    leaked = [f"mail {i} of {name}" for i in range(40) for name in ("train.csv", "dev.csv")]
    spelled = ["Mail 3 of  dev.csv", "mail 4<br />of dev.csv"]
    (data_dir / "mails-unlabelled" / "train.txt").write_text("\n".join(["one more mail", *leaked, *spelled]))
    assert texts(unlabelled(toy_run, "mails", PLENTY, 128)) == ["one more mail"]
    (data_dir / "mails-unlabelled" / "train.txt").write_text("\n".join(leaked))
    for ask in (lambda: unlabelled(toy_run, "mails", PLENTY, 128), lambda: check_unlabelled(toy_run, "mails")):
        with pytest.raises(UserError, match="needs unlabelled text.* none beyond the labelled examples"):
            ask()


def test_a_plan_says_that_there_is_no_corpus(toy_run: Run, data_dir: Path) -> None:
    write_own(data_dir)
    with pytest.raises(UserError, match="mails-unlabelled"):
        trained_steps(replace(toy_run, task_names=("mails",)))


def test_without_a_corpus_of_ones_own_the_message_says_where_to_put_one(toy_run: Run, data_dir: Path) -> None:
    write_own(data_dir)
    with pytest.raises(UserError, match=r"one text a line, into train\.txt in the folder mails-unlabelled of "):
        unlabelled(toy_run, "mails", PLENTY, 128)
    (data_dir / "mails-unlabelled").mkdir()
    (data_dir / "mails-unlabelled" / "train.txt").write_text("\n\n")
    with pytest.raises(UserError, match="needs unlabelled text"):
        unlabelled(toy_run, "mails", PLENTY, 128)


def test_the_hub_has_no_corpus_and_says_so(toy_run: Run) -> None:
    tasks = {"imdb": toy_run.task("imdb")}
    with pytest.raises(UserError, match="DATA=hub has no unlabelled corpus"):
        unlabelled(replace(toy_run, data="hub", _tasks=tasks), "imdb", PLENTY, 128)
