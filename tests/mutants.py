"""Break the code on purpose, one place at a time, and see that a guard notices: `make mutants`.

Each mutant is a small textual change in a copy of the repository. Its guard, some tests or `regress` of one paper,
passes on the code as it is and must fail on the mutant. A mutant whose text is no longer found exactly once is stale:
mend it here when the code that it breaks has been rewritten. Names on the command line choose mutants by a part of
their name.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REGRESS = "regress "
PAPERS = "replications/"
TESTS = "tests/replications/"


@dataclass(frozen=True)
class Mutant:
    """`old`, which `file` holds exactly once, becomes `new`; `guard` is a pytest selection or `regress <paper>`."""

    name: str
    file: str
    old: str
    new: str
    guard: str


DEEBERT, SYSTEMS = PAPERS + "deebert/experiments.py", "common/early_exit/systems.py"
TEST_DEEBERT, TEST_CASCADE = TESTS + "deebert/test_deebert_trial.py", TESTS + "cascadebert/test_cascadebert_trial.py"
TEST_METHOD = TESTS + "deebert/test_deebert_method.py"
TEST_RIGHT_TOOL = TESTS + "right_tool/test_right_tool_trial.py"
TEST_FASTBERT = TESTS + "fastbert/test_fastbert_trial.py"
TEST_TINYBERT = TESTS + "tinybert/test_tinybert_training.py"
TEST_TOKEN = TESTS + "token_early_exit/test_token_early_exit_trial.py::test_"
TEST_DISTILBERT = TESTS + "distilbert/test_distilbert_training.py"
DOCTOR, TEST_DOCTOR = "common/doctor/", "tests/common/doctor/test_doctor_"
LEARNS = TESTS + "test_scales.py::test_at_the_smoke_scale_the_baseline_learns"

MUTANTS = (
    Mutant(
        "best: one system below the floor is enough to drop a method",
        "common/best/choice.py",
        "PLACES = 2",
        "PLACES = 1",
        "tests/common/best/test_best_choice.py::test_what_is_not_trained_would_have_been_neither_first_nor_second",
    ),
    Mutant(
        "best: settings are chosen by the scores that are reported",
        "common/best/search.py",
        'tune = Scored(contender.task_run, "tune")',
        'tune = Scored(contender.task_run, "dev")',
        "tests/common/best/test_best_search.py::test_settings_are_chosen_on_tune_alone",
    ),
    Mutant(
        "Pruning: the most important ones go",
        "common/models/pruned.py",
        "importance.topk(count).indices",
        "importance.topk(count, largest=False).indices",
        "tests/common/models/test_pruned.py::test_the_most_important_ones_stay_in_their_order",
    ),
    Mutant(
        "Pruning: importance forgets the sign of a text's tokens",
        "common/models/pruned.py",
        "((o * _gradient(o)).sum(1) for o",
        "((o * _gradient(o)).abs().sum(1) for o",
        "tests/common/models/test_pruned.py::test_importance_is_the_gradient_of_a_gate_of_each_text",
    ),
    Mutant(
        "ONNX Runtime takes every core",
        "common/models/onnx_session.py",
        "options.inter_op_num_threads = self.threads, 1",
        "options.inter_op_num_threads = 0, 1",
        "tests/common/models/test_onnx_classifier.py::test_a_session_has_the_threads_that_pytorch_has_when_it_computes",
    ),
    Mutant(
        "DeeBERT: thresholds are chosen on dev",
        DEEBERT,
        "System(self.deebert, name, self.deebert.fastest_within(drop))",
        'System(self.deebert, name, self.deebert.fastest_within(drop, "dev"))',
        TEST_DEEBERT + "::test_thresholds_are_chosen_on_tune_and_only_the_dev_tuned_ones_on_dev",
    ),
    Mutant(
        "DeeBERT: thresholds are chosen on dev, seen by regress",
        DEEBERT,
        "System(self.deebert, name, self.deebert.fastest_within(drop))",
        'System(self.deebert, name, self.deebert.fastest_within(drop, "dev"))',
        REGRESS + "deebert",
    ),
    Mutant(
        "RightTool: thresholds are chosen on dev",
        PAPERS + "right_tool/experiments.py",
        "System(contender, name, contender.fastest_within(drop))",
        'System(contender, name, contender.fastest_within(drop, "dev"))',
        TEST_RIGHT_TOOL + "::test_thresholds_are_chosen_on_tune",
    ),
    Mutant(
        "RightTool: temperatures are fitted on dev",
        PAPERS + "right_tool/contender.py",
        'self.not_calibrated.exits("tune"), run.splits["tune"].labels',
        'self.not_calibrated.exits("dev"), run.splits["dev"].labels',
        TEST_RIGHT_TOOL + "::test_temperatures_are_fitted_on_tune_to_what_was_trained",
    ),
    Mutant(
        "RightTool: no threshold never leaves",
        PAPERS + "right_tool/names.py",
        "NEVER = 1.01",
        "NEVER = 1.0",
        TEST_RIGHT_TOOL + "::test_the_grid_holds_a_threshold_at_which_even_the_surest_stays",
    ),
    Mutant(
        "PABEE: the patience is chosen on dev",
        PAPERS + "pabee/experiments.py",
        'self.best_patience("tune", "tuned")',
        'self.best_patience("dev", "tuned")',
        TESTS + "pabee/test_pabee_findings.py::test_a_tuned_patience_is_chosen_on_tune_not_on_dev",
    ),
    Mutant(
        "FastBERT: KL is swapped",
        PAPERS + "fastbert/contender.py",
        "{FASTBERT: kl_from_teacher, PRINTED_DIRECTION: kl_from_student}",
        "{FASTBERT: kl_from_student, PRINTED_DIRECTION: kl_from_teacher}",
        TEST_FASTBERT + "::test_the_default_direction_is_the_official_codes",
    ),
    Mutant(
        "FastBERT: KL is swapped, seen by regress",
        PAPERS + "fastbert/contender.py",
        "{FASTBERT: kl_from_teacher, PRINTED_DIRECTION: kl_from_student}",
        "{FASTBERT: kl_from_student, PRINTED_DIRECTION: kl_from_teacher}",
        REGRESS + "fastbert",
    ),
    Mutant(
        "PABEE: all exits weigh alike",
        "common/early_exit/multi_exit.py",
        "weights = torch.arange(1, len(losses) + 1, dtype=losses.dtype, device=losses.device)",
        "weights = torch.ones(len(losses), dtype=losses.dtype, device=losses.device)",
        TESTS + "pabee/test_pabee_method.py",
    ),
    Mutant(
        "PABEE: patience off by one",
        PAPERS + "pabee/method.py",
        'require_classes(state, "leaving by agreeing classes")\n        if state.layer <= self.patience:',
        'require_classes(state, "leaving by agreeing classes")\n        if state.layer < self.patience:',
        TESTS + "pabee/test_pabee_method.py",
    ),
    Mutant(
        "CascadeBERT: no regularisation",
        PAPERS + "cascadebert/small_models.py",
        "calibrated_loss(self.hard, margin, weight)",
        "calibrated_loss(self.hard, margin, 0.0)",
        TEST_CASCADE + "::test_the_calibrated_model_is_regularised",
    ),
    Mutant(
        "CascadeBERT: difficulty is judged on examples that were trained on",
        PAPERS + "cascadebert/small_models.py",
        "rest = rows_of(train, ways.trained_on(seed, fold, len(train)))",
        "rest = rows_of(train, list(range(len(train))))",
        TEST_CASCADE + "::test_no_example_is_judged_by_a_model_that_was_trained_on_it",
    ),
    Mutant(
        "CascadeBERT: DIS on probabilities that saturate",
        PAPERS + "cascadebert/findings.py",
        "return log_odds(logits), np",
        "return logits.softmax(-1).amax(-1).numpy(), np",
        TEST_CASCADE + "::test_confidence_ranks_where_the_probability_is_1",
    ),
    Mutant(
        "the baseline is not trained",
        "common/training/finetune.py",
        "report = fit(model, batches, classification_loss, plan, checkpoint=checkpoint, progress=self.progress)",
        "report = FitReport(0.0, 0, 0.0, 'cpu', 'float32', 1)",
        LEARNS,
    ),
    Mutant(
        "labels are shuffled",
        "common/training/batches.py",
        "    labels = torch.tensor([e.label for e in examples], dtype=torch.float if regression else torch.long)\n",
        "    labels = torch.tensor([e.label for e in examples], dtype=torch.float if regression else torch.long)\n"
        "    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]\n",
        LEARNS,
    ),
    Mutant(
        "entropy is compared with <=",
        "common/early_exit/rules.py",
        "return entropy(state.latest) < self.threshold",
        "return entropy(state.latest) <= self.threshold",
        TEST_METHOD,
    ),
    Mutant(
        "DeeBERT: entropy is divided by ln C",
        PAPERS + "deebert/method.py",
        "    return EntropyBelow(threshold)\n",
        "    return EntropyBelow(threshold * 1.0986122886681098)\n",
        TEST_METHOD,
    ),
    Mutant(
        "classifiers read the mean instead of the first token",
        "common/encoders/pooling.py",
        "return hidden[:, 0]",
        "return hidden.mean(1)",
        "tests/common/encoders/test_pooling.py " + TEST_METHOD,
    ),
    Mutant(
        "DeeBERT: off-ramps read the first token of another layer",
        "common/training/frozen.py",
        "states[cpu_batch.rows, index - 1] = read(hidden, mask).cpu()",
        "states[cpu_batch.rows, index - 2] = read(hidden, mask).cpu()",
        TEST_METHOD,
    ),
    Mutant(
        "DeeBERT: off-ramps learn on an untrained backbone",
        PAPERS + "deebert/contender.py",
        "states = frozen_states(run.classifier(), run.encoded.train, run.device)",
        "untrained = type(run.classifier())(run.backbone.encoder, run.classifier().head)\n"
        "            states = frozen_states(untrained, run.encoded.train, run.device)",
        TEST_DEEBERT,
    ),
    Mutant(
        "DeeBERT: poolers are refreshed after stage 1",
        PAPERS + "deebert/contender.py",
        "lambda: fresh_off_ramps(run.backbone.encoder, run.outputs, plan.seed, run.pooling),",
        "lambda: Heads.reading(run.pooling, [ramp.initialise(run.classifier().head.pooler, None) for ramp in "
        "fresh_off_ramps(run.backbone.encoder, run.outputs, plan.seed, run.pooling)]),",
        TEST_DEEBERT,
    ),
    Mutant(
        "DeeBERT: savings are against S = 0",
        SYSTEMS,
        "            BASELINE: run.classifier().to(run.timing_device),\n            TRUNCATED",
        "            BASELINE: self.systems[0].contender.arm(Setting('', 0.0)),\n            TRUNCATED",
        TEST_DEEBERT,
    ),
    Mutant(
        "DeeBERT: everything is scored by accuracy",
        SYSTEMS,
        "return float(points_along(self.task_run.task.metric)(answers, self.labels))",
        'return float(points_along("accuracy")(answers, self.labels))',
        TEST_DEEBERT,
    ),
    Mutant(
        "MRPC is scored by accuracy",
        "common/tasks/catalogue.py",
        'TaskFacts("mrpc", ("not_equivalent", "equivalent"), "f1"',
        'TaskFacts("mrpc", ("not_equivalent", "equivalent"), "accuracy"',
        TESTS + "test_scales.py::test_tasks_have_the_metrics_of_glue",
    ),
    Mutant(
        "ALBERT: strangers count as swapped segments",
        PAPERS + "albert/pretraining.py",
        'SOP: "order"}',
        'SOP: "next sentence"}',
        TESTS + "albert/test_albert_trial.py::test_swapped_segments_are_of_one_document_and_strangers_are_not",
    ),
    Mutant(
        "ALBERT: LAMB decays biases and norms",
        PAPERS + "albert/lamb.py",
        '"weight_decay": 0.0, "adapt": False}',
        '"adapt": False}',
        TESTS + "albert/test_albert_lamb.py::test_biases_and_norms_have_neither_decay_nor_ratio",
    ),
    Mutant(
        "ALBERT: layers take their group in turn",
        PAPERS + "albert/method.py",
        "return layer * sets // layers",
        "return layer % sets",
        TESTS + "albert/test_albert_method.py::test_blocks_are_handed_out_evenly_and_in_order",
    ),
    Mutant(
        "Bort: the released code's second softmax",
        PAPERS + "bort/distillation.py",
        "log_q = F.log_softmax(student / temperature, dim=-1)",
        "log_q = F.log_softmax(F.softmax(student / temperature, dim=-1), dim=-1)",
        TESTS + "bort/test_bort_distillation.py"
        "::test_the_distillation_term_is_the_kl_at_temperature_2_summed_over_the_vocabulary",
    ),
    Mutant(
        "Bort: both widths of the official name swapped",
        PAPERS + "bort/method.py",
        "depth, heads, intermediate, hidden = map(int, found.groups())",
        "depth, heads, hidden, intermediate = map(int, found.groups())",
        TESTS + "bort/test_bort_method.py"
        "::test_the_official_names_have_the_feed_forward_width_before_the_width_of_the_model",
    ),
    Mutant(
        "Bort: Agora learns from the dev set that is reported",
        PAPERS + "bort/finetuning.py",
        "return agora(self, self.settings.thetas, run.task.tune, tau, self.acceptable)",
        "return agora(self, self.settings.thetas, run.task.dev, tau, self.acceptable)",
        TESTS + "bort/test_bort_trial.py::test_agora_learns_from_the_part_held_back_and_the_baseline_labels",
    ),
    Mutant(
        "The page: what a record says becomes HTML",
        "common/site/pages.py",
        "autoescape=True",
        "autoescape=False",
        "tests/common/site/test_site_pages.py::test_no_name_becomes_html",
    ),
    Mutant(
        "The page: throughput is read from the latency",
        "common/site/tradeoff.py",
        'Reading("throughput_ratio")',
        'Reading("time_speedup")',
        "tests/common/site/test_site_plot_data.py::test_each_currency_is_read_from_its_own_metric",
    ),
    Mutant(
        "doctor: an output that is no number is no gap",
        DOCTOR + "backbone.py",
        "if not gap <= CLOSE:",
        "if gap > CLOSE:",
        TEST_DOCTOR + "backbone.py::test_a_backbone_that_reads_its_padding_is_broken",
    ),
    Mutant(
        "doctor: labels are said to be permuted whatever answers score",
        DOCTOR + "recorded.py",
        "if np.trace(both) >= constant:",
        "if np.trace(both) >= count:",
        TEST_DOCTOR + "recorded.py::test_a_healthy_run_has_no_finding",
    ),
    Mutant(
        "doctor: one equal choice stands for all",
        DOCTOR + "recorded.py",
        "len(same) >= ENOUGH_CHOICES and all(same)",
        "len(same) >= ENOUGH_CHOICES and any(same)",
        TEST_DOCTOR + "recorded.py::test_one_choice_that_differs_is_enough",
    ),
    Mutant(
        "doctor: one setting at one layer stands for all",
        DOCTOR + "recorded.py",
        "len(exits) > 1 and all(np.ptp",
        "len(exits) > 1 and any(np.ptp",
        TEST_DOCTOR + "recorded.py::test_a_single_setting_that_lets_texts_leave_apart_is_enough",
    ),
    Mutant(
        "doctor: what a library was built for counts as another version",
        DOCTOR + "machine.py",
        "Version(one).public == Version(other).public",
        "Version(one) == Version(other)",
        TEST_DOCTOR + "machine.py::test_tested_versions_are_silent_whatever_they_were_built_for",
    ),
    Mutant(
        "TinyBERT: general distillation sees text without masks",
        PAPERS + "tinybert/general.py",
        "return self.reading.batches(Uniform(), ",
        "return self.reading.batches(None, ",
        TEST_TINYBERT + "::test_general_distillation_sees_masked_text",
    ),
    Mutant(
        "TinyBERT: two ablations change places",
        PAPERS + "tinybert/students.py",
        "WITHOUT_ATTN: Variant(objective=Objective(attention=False)),",
        "WITHOUT_ATTN: Variant(objective=Objective(hidden=False)),",
        TEST_TINYBERT + "::test_general_students_imitate_what_their_rows_say",
    ),
    Mutant(
        "TOKEE: thresholds are chosen by the sentences that are reported",
        PAPERS + "token_early_exit/systems.py",
        "partial(_rule, contender, speed)) for",
        'partial(_rule, contender, speed), "dev") for',
        TEST_TOKEN + "points_at_speeds_ask_tune_alone",
    ),
    Mutant(
        "TOKEE: the copy is taken after the norm",
        PAPERS + "token_early_exit/contender.py",
        "copy: Copy = BEFORE_NORM) -> None:",
        "copy: Copy = AFTER_NORM) -> None:",
        TEST_TOKEN + "tokee_copies_before_the_norm_as_the_readme_sets_it",
    ),
    Mutant(
        "TOKEE: exited words are silent in windows",
        PAPERS + "token_early_exit/contender.py",
        "    exited_count = True\n",
        "    exited_count = False\n",
        TEST_TOKEN + "exited_words_count_in_tokees_windows",
    ),
    Mutant(
        "TOKEE: the copy after the norm is TOKEE under another name",
        PAPERS + "token_early_exit/contender.py",
        "super().__init__(tagging_run, AFTER_NORM)",
        "super().__init__(tagging_run)",
        TEST_TOKEN + "tokee_copies_before_the_norm_as_the_readme_sets_it",
    ),
    Mutant(
        "TOKEE: where the copy is taken is no part of the model's key",
        PAPERS + "token_early_exit/contender.py",
        '"copy": self.copy, "sampled"',
        '"sampled"',
        TEST_TOKEN + "tokee_copies_before_the_norm_as_the_readme_sets_it",
    ),
    Mutant(
        "TOKEE: classifiers learn at the encoder's rate",
        PAPERS + "token_early_exit/contender.py",
        "HEAD_RATE = 10.0",
        "HEAD_RATE = 1.0",
        TEST_TOKEN + "classifiers_learn_at_ten_times_the_encoders_rate",
    ),
    Mutant(
        "TOKEE: stage 1 has the same epochs on every task",
        PAPERS + "token_early_exit/contender.py",
        "or Stage(self.tagging_run.plan)",
        "or Stage(self.settings.recipe.whole)",
        TEST_TOKEN + "below_the_papers_scale_stage_one_follows_the_baselines_epochs_on_a_task",
    ),
    Mutant(
        "DistilBERT: every word is as likely to be masked as any other",
        PAPERS + "distilbert/students.py",
        "SmoothedByFrequency(counts, reading.words.padding)",
        "SmoothedByFrequency(torch.ones_like(counts), reading.words.padding)",
        TEST_DISTILBERT + "::test_rare_words_are_masked_more_often_in_every_pre_training",
    ),
    Mutant(
        "DistilBERT: ablations learn all three losses",
        PAPERS + "distilbert/students.py",
        "variant.weights, share=settings.share",
        "MAIN.weights, share=settings.share",
        TEST_DISTILBERT + "::test_a_student_learns_what_its_row_says",
    ),
)


class Stale(Exception):
    """The text that a mutant changes is not there, or not only once."""


class Broken(Exception):
    """A guard fails without any mutant, or could not run."""


@contextmanager
def copied() -> Iterator[Path]:
    """A copy of everything that git tracks or would track, as it is in the working tree."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        for name in filter(None, names):
            if (ROOT / name).is_file():
                (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, Path(folder) / name)
        yield Path(folder)


@contextmanager
def applied(mutant: Mutant, copy: Path) -> Iterator[None]:
    """Within the block `copy` holds the mutant.

    Raises:
        Stale: the text is not there exactly once.
    """
    path = copy / mutant.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        raise Stale(f"{mutant.file} holds {text.count(mutant.old)} times: {mutant.old.strip()}")
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")


def command(guard: str, *, before: bool = False) -> list[str]:
    """What runs a guard; for regress `before` makes the baseline that it will compare with."""
    if guard.startswith(REGRESS):
        paper = ["--paper", guard.removeprefix(REGRESS)]
        return [sys.executable, "-m", "common.cli", "regress", *paper, *(["--update"] if before else [])]
    return [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *guard.split()]


def notices(guard: str, copy: Path, *, before: bool = False) -> bool:
    """Whether the guard fails on the code in `copy`.

    Raises:
        Broken: it could not run.
    """
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command(guard, before=before), cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 1):
        raise Broken(f"{guard} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")
    return done.returncode == 1


def check_guards(guards: Sequence[str], copy: Path) -> None:
    """See that the guards pass on the code as it is; where one is regress, make its baseline.

    Raises:
        Broken: one does not.
    """
    tests = " ".join(guard for guard in guards if not guard.startswith(REGRESS))
    # All tests at once: most of a guard's time is spent on importing.
    for guard in filter(None, (tests, *(guard for guard in guards if guard.startswith(REGRESS)))):
        if notices(guard, copy, before=True):
            raise Broken(f"fails without any mutant: {guard}")


def main(wanted: Sequence[str]) -> int:
    """Try the mutants, or those whose name holds one of `wanted`; 0 if all are caught."""
    chosen = [m for m in MUTANTS if not wanted or any(part.lower() in m.name.lower() for part in wanted)]
    caught = 0
    try:
        with copied() as copy:
            for mutant in chosen:
                with applied(mutant, copy):
                    pass
            check_guards(list(dict.fromkeys(m.guard for m in chosen)), copy)
            for mutant in chosen:
                with applied(mutant, copy):
                    is_caught = notices(mutant.guard, copy)
                caught += is_caught
                print(f"{'caught' if is_caught else 'SURVIVED':9} {mutant.name}  ({mutant.guard})", flush=True)
    except (Stale, Broken) as error:
        print(f"{type(error).__name__.lower()}: {error}", file=sys.stderr)
        return 2
    print(f"{caught} of {len(chosen)} caught")
    return 0 if caught == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
