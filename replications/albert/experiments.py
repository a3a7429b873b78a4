"""Tables 3, 4, 5, 8, 11 and 12 and Figure 1 on models pre-trained here, at a run's scale. `shapes.py` has true sizes.

Each model is pre-trained from scratch for the scale's budget, scored on text held back (masked words, sentence order,
next sentence), fine-tuned on each task and scored there. The common baseline, a published encoder fine-tuned plainly,
stands beside: it says how far from a real pre-training all of this is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from common.costs.estimates import FORWARD_FLOPS_PER_SECOND, token_estimate
from common.costs.flops import encoder_flops
from common.costs.parameters import encoder_parameters
from common.early_exit.scoring import points_along, score_interval
from common.early_exit.systems import answers_of
from common.records.measurements import Measurement
from common.records.predictions import LABELS, Array, Evidence, answers_name
from common.reporting.captions import MACRO
from common.rows import Rows
from common.run.replication import Run, Step
from common.task_run import TaskRun
from common.training.pretraining.pretrainer import encoder_work, head_work
from replications.albert.ablations import OBJECTIVE_TABLES, Row, models_of, rows_of
from replications.albert.distances import distance_rows
from replications.albert.downstream import Downstream
from replications.albert.names import INTRINSIC, NSP, PAIR_HITS, SOP, WORD_HITS, hits_name
from replications.albert.pretraining import Laboratory, Model
from replications.albert.settings import PAPER_TOKENS, SETTINGS
from replications.albert.shapes import shape_steps as shape_steps

TASKS = {
    "builtin": ("mood", "reply"),
    "files": ("sst-2", "mrpc", "rte"),
    "hub": ("sst-2", "mnli", "mrpc", "rte"),
}
"""SST-2 and MNLI are the paper's; SQuAD and RACE, its other three, are left out. Of the generated tasks
these two are those that a model learns which has read no more than a few thousand sentences."""

QUESTIONS = {"MLM": WORD_HITS, NSP: PAIR_HITS[NSP], SOP: PAIR_HITS[SOP]}
"""What is scored on text held back, by its name in Table 5."""

SMALL_FLOPS_PER_SECOND = 5e10
"""Of two CPU cores on products as small as those of the scales `smoke` and `mini`; for estimates alone."""


def trained_steps(run: Run) -> list[Step]:
    """Pre-train every model with every seed, fine-tune each on every task, then tables and figures."""
    lab = Laboratory(run)
    tasks = run.tasks_or(TASKS)
    for task in tasks:
        run.task(task)
    seeds = [Findings(lab, seed, tasks) for seed in run.seeds]
    steps = [Step.making("vocabulary, and the text as token ids", 20.0, lab.prepare)]
    for found in seeds:
        steps += [*found.pretraining_steps(), *found.finetuning_steps()]
    return [*steps, *(Step(f"seed {f.seed}: tables and figures", 10.0, f.measure) for f in seeds)]


@dataclass(frozen=True)
class Findings:
    """Everything of one seed."""

    lab: Laboratory
    seed: int
    tasks: Sequence[str]

    @cached_property
    def rows(self) -> list[Row]:
        """Those that this seed trains: where a scale spares, only the first of several trains all."""
        run, spared = self.lab.run, self.lab.settings.left_to_several
        every = [row for row in rows_of(self.lab.settings) if len(run.seeds) > 1 or not spared & {*row.experiments}]
        return every if self.seed == run.seeds[0] or not run.scale.spares else [row for row in every if row.main]

    @property
    def models(self) -> list[Model]:
        """Behind the rows, each once."""
        return models_of(self.rows)

    def downstream(self, task: str) -> Downstream:
        """One task."""
        return Downstream(self.lab, task, self.seed)

    def baseline(self, task: str) -> TaskRun:
        """The common baseline."""
        return TaskRun.of(self.lab.run, task, self.seed, self.lab.settings.recipe)

    # -- What is trained ----------------------------------------------------------------------------------------------

    def pretraining_steps(self) -> Iterator[Step]:
        """A step for each model."""
        tokens = self.lab.settings.tokens
        for model in self.models:
            seconds = 3 + tokens * self.lab.flops_per_token(model) / self._rate
            name = f"seed {self.seed}: pre-train {model.label}"
            yield Step.making(name, seconds, partial(self.lab.folder, model, self.seed))

    def finetuning_steps(self) -> Iterator[Step]:
        """For each task a step for the baseline and one for each model."""
        for task in self.tasks:
            yield from self.baseline(task).static_steps([])
            tuned = self.downstream(task)
            for model in self.models:
                name = f"{task} seed {self.seed}: fine-tune {model.label}"
                yield Step.making(name, self._finetuning_seconds(tuned, model), partial(tuned.answers, model))

    def _finetuning_seconds(self, tuned: Downstream, model: Model) -> float:
        length, train = tuned.plan.max_length, tuned.task.train
        flops = 3 * encoder_flops(model.shape.costs, length) / length
        return 1 + tuned.plan.epochs * token_estimate(train, length) * flops / self._rate

    @property
    def _rate(self) -> float:
        small = self.lab.settings.base.hidden < 384
        return SMALL_FLOPS_PER_SECOND if small else FORWARD_FLOPS_PER_SECOND

    # -- What is measured ---------------------------------------------------------------------------------------------

    def measure(self) -> list[Measurement]:
        """Every table and figure, the record's evidence kept."""
        self._keep_hits()
        measured = [m for task in self.tasks for m in self._of_task(task)]
        if len(self.tasks) > 1:
            measured += self._averages(measured)
        return [*self._budget(), *measured, *self._intrinsic(), *distance_rows(self.lab, self.seed, self._row(""))]

    def _row(self, task: str, n: int = 0) -> Rows:
        return Rows(task, self.seed, self.backbone, n)

    @property
    def backbone(self) -> str:
        """What every table says of what it was measured on: the size, and the part of the paper's budget."""
        s = self.lab.settings
        return (
            f"{s.base.layers} layers of {s.base.hidden}, pre-trained on at most {s.tokens / 1e6:.3g} M tokens "
            f"({100 * s.share:.1g} % of the paper's)"
        )

    def _of_task(self, task: str) -> Iterator[Measurement]:
        """Score of every row and of the baseline; answers are kept."""
        tuned, baseline = self.downstream(task), self.baseline(task)
        theirs = answers_of(baseline.static_logits()["dev"], baseline)
        metric, labels = tuned.task.metric, tuned.labels
        row = self._row(task, len(labels))
        arrays: dict[str, Array] = {LABELS: labels, answers_name("baseline"): theirs}
        for one in self.rows:
            answers = tuned.answers(one.model)
            arrays[answers_name(one.system, one.setting)] = answers
            score, at = score_interval(metric, answers, labels), {"setting": one.setting, "at": one.at}
            for experiment in one.experiments:
                if experiment != OBJECTIVE_TABLES[0]:
                    yield row(experiment, one.system, "score", score, "points", **at)
        for experiment in {e for one in self.rows for e in one.experiments} - {OBJECTIVE_TABLES[0]}:
            yield row(experiment, "baseline", "score", score_interval(metric, theirs, labels), "points")
        yield row("budget", "constant answer", "score", _constant(metric, labels), "points")
        depth = self.lab.settings.base.layers
        self.lab.run.keep(Evidence(task, self.seed, metric, len(tuned.task.labels), depth, arrays))

    def _averages(self, measured: Sequence[Measurement]) -> Iterator[Measurement]:
        """The plain mean over tasks of every row."""
        row, scores = self._row(MACRO, len(self.tasks)), [m for m in measured if m.metric == "score"]
        names = dict.fromkeys((m.experiment, m.system, m.setting, m.at) for m in scores)
        for experiment, system, setting, at in names:
            found = [m.value for m in scores if (m.experiment, m.system, m.setting) == (experiment, system, setting)]
            value = float(np.mean(found))
            yield row(experiment, system, "score", value, "points", setting=setting, at=at)

    def _intrinsic(self) -> Iterator[Measurement]:
        """Accuracy on text held back, and the size of each model."""
        for one in self.rows:
            at = {"setting": one.setting, "at": one.at}
            hits = self.lab.kept_hits(one.model, self.seed)
            for experiment in one.experiments:
                if experiment == OBJECTIVE_TABLES[1]:
                    continue
                for question, name in QUESTIONS.items():
                    row = self._row(question, len(hits[name]))
                    yield row(experiment, one.system, "score", 100 * float(hits[name].mean()), "points", **at)
                size = float(encoder_parameters(self.lab.sized(one.model).costs))
                yield self._row("")(experiment, one.system, "parameters", size, "count", **at)

    def _budget(self) -> Iterator[Measurement]:
        """What part of the paper's pre-training this was."""
        row, s, lab = self._row(""), self.lab.settings, self.lab
        mine = s.tokens * lab.flops_per_token(Model(lab.sized(Model(s.base))))
        yield row("budget", "pre-training", "tokens", float(s.tokens), "count", note="rows as long as they may be")
        yield row("budget", "pre-training", "tokens_share", s.share, "fraction")
        yield row("budget", "pre-training", "corpus_tokens", float(lab.text.tokens), "count")
        yield row("budget", "pre-training", "vocabulary", float(lab.words.size), "count")
        yield row("budget", "pre-training", "flops", mine, "FLOP", note="ALBERT, forwards and backwards")
        yield row("budget", "pre-training", "flops_share", mine / paper_flops(), "fraction", note="ALBERT-base")

    def _keep_hits(self) -> None:
        """Whether each masked word and each pair was judged rightly, by row."""
        arrays: dict[str, Array] = {}
        for one in self.rows:
            for name, hits in self.lab.kept_hits(one.model, self.seed).items():
                arrays[hits_name(one.system, one.setting, name)] = hits
        self.lab.run.keep(Evidence(INTRINSIC, self.seed, "", 0, self.lab.settings.base.layers, arrays))


def paper_flops() -> float:
    """Of the paper's pre-training of ALBERT-base."""
    whole = SETTINGS["paper"]
    length = whole.pretraining.max_length
    shape = whole.base.costs
    share = (whole.most or length) / length
    return PAPER_TOKENS * (encoder_work(shape, length, trained=True) + head_work(shape, share, trained=True))


def _constant(metric: str, labels: NDArray[np.generic]) -> float:
    """Points of the constant answer that scores best."""
    return max(float(points_along(metric)(np.full_like(labels, label), labels)) for label in np.unique(labels))
