"""What one would deploy otherwise, as contenders: ONNX Runtime, pruning, exits over int8 layers."""

from pathlib import Path

import pytest
import torch
from kit.toy_run import picked, run_steps, small_run, toy_task

from common.compare import onnx
from common.compare.command import comparison
from common.compare.exits_in_int8 import ExitsInInt8, exits_in_int8
from common.compare.experiments import Entrants, at_like_speeds, trained_steps
from common.compare.int8 import in_int8 as quantised
from common.compare.names import BASELINE, INT8, LADDER, ONNX, ONNX_INT8, PRUNED, TFIDF, in_int8
from common.compare.onnx import OnnxInt8, OnnxRuntime
from common.compare.pruned import Pruned
from common.compare.rivals import RIVALS, Ladder
from common.errors import UserError
from common.methods import Contender, find_method, find_methods
from common.run.replication import Run
from common.task_run import TaskRun

TOY = toy_task("toy", ("no", "yes"), lambda i: i % 3 > 0)
VALUES = toy_task("values", (), lambda i: i / 7, "spearman")
NEW = (ONNX, ONNX_INT8, PRUNED)


@pytest.fixture(scope="module")
def task_run(tmp_path_factory: pytest.TempPathFactory) -> TaskRun:
    return TaskRun.of(small_run(tmp_path_factory.mktemp("run"), TOY), "toy", 0)


def over_int8(task_run: TaskRun, name: str) -> ExitsInInt8:
    contender = exits_in_int8([find_method(name)])[in_int8(name)].on(task_run)
    assert isinstance(contender, ExitsInInt8)
    return contender


def all_new(task_run: TaskRun) -> list[Contender]:
    return [OnnxRuntime(task_run), OnnxInt8(task_run), Pruned(task_run), over_int8(task_run, "DeeBERT")]


def test_what_runs_on_the_clock_is_what_is_scored(task_run: TaskRun) -> None:
    """In int8 a text's logits depend a little on its company, whose largest value scales what is read."""
    texts = task_run.task.dev[:12]
    for contender in all_new(task_run):
        setting = contender.settings[len(contender.settings) // 2]
        near = 0.1 if "int8" in contender.name else 1e-4
        answer, scored = contender.answer(setting), contender.outcome("dev", setting).logits[:12]
        torch.testing.assert_close(torch.cat([answer([text]) for text in texts]), scored, atol=near, rtol=0)
        torch.testing.assert_close(answer(texts), scored, atol=near, rtol=0)


# -- ONNX Runtime -----------------------------------------------------------------------------------------------------


def test_onnx_runtime_has_the_ladder_and_the_whole_with_the_weights_of_both(task_run: TaskRun) -> None:
    contender, n = OnnxRuntime(task_run), task_run.num_layers
    assert [int(s.at) for s in contender.settings] == [*task_run.recipe.depths(n), n]
    for setting in contender.settings:
        logits = contender.outcome("dev", setting).logits
        torch.testing.assert_close(logits, task_run.static_logits(int(setting.at))["dev"], atol=1e-4, rtol=0)
        assert (contender.flops("dev", setting) == task_run.static_flops("dev", int(setting.at))).all()
    names = [step.name for step in contender.training_steps()]
    assert {step.name for step in Ladder(task_run).training_steps()} <= set(names), "it can stand alone"


def test_its_int8_answers_are_near_and_come_from_another_file(task_run: TaskRun) -> None:
    full, small = OnnxRuntime(task_run), OnnxInt8(task_run)
    whole = full.settings[-1]
    assert small.file(whole) != full.file(whole)
    exact, found = (c.outcome("dev", whole).logits for c in (full, small))
    assert not torch.equal(exact, found)
    assert (exact - found).abs().max() < 0.3


def test_settings_that_are_models_are_all_compared(task_run: TaskRun) -> None:
    contender = OnnxRuntime(task_run)
    settings = (*contender.settings, *contender.settings)
    assert len(settings) > 4

    class Many(OnnxRuntime):
        @property
        def settings(self) -> tuple:
            return settings

    assert len(at_like_speeds(Many(task_run))) == len(settings)


# -- Pruning ----------------------------------------------------------------------------------------------------------


def test_pruning_keeps_the_shares_and_costs_less_by_share(task_run: TaskRun) -> None:
    pruned = Pruned(task_run)
    sizes, before = [], task_run.baseline_flops("dev")
    for setting in pruned.settings:
        layer = pruned.model(setting).encoder.model.encoder.layer[0]
        sizes.append((layer.attention.self.query.out_features, layer.intermediate.dense.out_features))
        assert (pruned.flops("dev", setting) < before).all()
        before = pruned.flops("dev", setting)
    width, inner = task_run.shape.hidden, task_run.shape.intermediate
    assert sizes == [(int(share * width), int(share * inner)) for share in (0.75, 0.5, 0.25)]
    assert (pruned.outcome("dev", pruned.settings[0]).exit_layer == task_run.num_layers).all()


def test_importance_is_measured_on_train_alone(task_run: TaskRun, monkeypatch: pytest.MonkeyPatch) -> None:
    train = task_run.encoded.train
    texts = {train.input_ids[row] for batch in Pruned(task_run)._texts() for row in batch.rows.tolist()}
    assert texts == set(train.input_ids), "fewer than the limit: all of them, and no others"
    seen = [batch.labels for batch in Pruned(task_run)._texts()]
    rows = torch.cat([batch.rows for batch in Pruned(task_run)._texts()])
    assert torch.equal(torch.cat(seen), train.labels[rows])


# -- Exits over int8 layers -------------------------------------------------------------------------------------------


OF_EXITS = ("DeeBERT", "FastBERT", "PABEE", "RightTool")


def test_every_method_of_exits_has_one_over_int8_layers_and_no_other_has() -> None:
    offered = find_methods().methods
    found = exits_in_int8(offered.values())
    others = ("CascadeBERT", "TinyBERT", "DAN")
    assert {in_int8(name) for name in OF_EXITS} <= set(found) <= {in_int8(name) for name in offered}
    assert all(name in offered and in_int8(name) not in found for name in others)
    assert [name for name in OF_EXITS if found[in_int8(name)].regression] == ["PABEE"]


@pytest.mark.parametrize("name", OF_EXITS)
def test_its_layers_are_quantised_and_its_exits_are_not(task_run: TaskRun, name: str) -> None:
    contender = over_int8(task_run, name)
    model, whole = contender.model(), contender.whole.model()
    layers = [type(m).__module__ for m in model.encoder.model.encoder.modules() if "Linear" in type(m).__name__]
    assert layers and all("quantized" in kind for kind in layers)
    exits = {k: v for k, v in model.state_dict().items() if not k.startswith("encoder.")}
    assert all(torch.equal(v, whole.state_dict()[k]) for k, v in exits.items())
    assert {type(m).__module__ for k, m in model.named_modules() if k.split(".")[0] != "encoder"}.isdisjoint(
        {"torch.ao.nn.quantized.dynamic.modules.linear"}
    )
    logits, exact = contender.exits("dev"), contender.whole.exits("dev")
    assert not torch.equal(logits, exact) and (logits - exact).abs().max() < 0.5
    assert [s.name for s in contender.settings] == [s.name for s in contender.whole.settings]


def test_as_many_flops_are_counted_as_of_the_method(task_run: TaskRun) -> None:
    contender = over_int8(task_run, "DeeBERT")
    never = contender.settings[0]
    assert never.at == 0
    assert (contender.flops("dev", never) == contender.whole.flops("dev", never)).all()


def test_quantising_leaves_the_model_as_it_is() -> None:
    linear = torch.nn.Sequential(torch.nn.Linear(4, 4))
    assert "quantized" in type(quantised(linear)[0]).__module__
    assert type(linear[0]) is torch.nn.Linear


# -- In the comparison ------------------------------------------------------------------------------------------------


def test_they_are_measured_with_everyone_and_agree_with_what_they_come_from(tmp_path: Path) -> None:
    run = small_run(tmp_path, TOY)
    asked = [LADDER, INT8, *NEW, "DeeBERT", in_int8("DeeBERT")]
    steps = trained_steps(run, asked)
    assert len({step.name for step in steps}) == len(steps), "what two begin with is one step"
    rows = run_steps(steps, run, tmp_path / "journal")
    assert {m.system for m in picked(rows, metric="time_speedup")} >= {BASELINE, *asked[:-2]}
    agreement = picked(rows, metric="agreement")
    assert {m.system for m in agreement} >= {INT8, ONNX, ONNX_INT8}
    assert all(m.value == 100 for m in picked(agreement, system=ONNX))
    assert all(0 <= m.value <= 100 for m in agreement)
    (evidence,) = run.evidence
    assert "ONNX Runtime@4 of 4 layers/answers" in evidence.arrays


def test_who_needs_a_library_that_is_missing_is_left_out_with_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx, "missing_libraries", lambda: ["onnx", "onnxruntime"])
    said: list[str] = []
    run = TaskRun.of(small_run(tmp_path, TOY), "toy", 0)
    entrants = Entrants.asked([LADDER, ONNX, ONNX_INT8], said.append)
    assert [[c.name for c in entrants.on(run)] for _ in range(2)] == [[LADDER], [LADDER]]
    do = "type pip install -c constraints.txt onnx onnxruntime"
    assert said == [f"{name} is left out: it needs onnx, onnxruntime; {do}" for name in (ONNX, ONNX_INT8)]
    with pytest.raises(UserError, match="ONNX Runtime is left out: it needs onnx, onnxruntime"):
        Entrants.asked([ONNX], said.append).on(run)


def test_where_the_clock_is_a_gpu_what_computes_on_a_cpu_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Run, "timing_device", torch.device("cuda"))
    said: list[str] = []
    run = TaskRun.of(small_run(tmp_path, TOY), "toy", 0)
    entrants = Entrants.asked([LADDER, INT8, *NEW, in_int8("DeeBERT")], said.append)
    assert [c.name for c in entrants.on(run)] == [LADDER, PRUNED]
    assert said[0] == f"{INT8} is left out: it computes on a CPU alone; type TIMING_DEVICE=cpu"


def test_values_are_learned_by_all_but_those_that_leave_by_classes(tmp_path: Path) -> None:
    run = TaskRun.of(small_run(tmp_path, VALUES), "values", 0)
    contenders = Entrants.asked([*NEW, in_int8("DeeBERT"), in_int8("PABEE"), TFIDF], print).on(run)
    assert [c.name for c in contenders] == [*NEW, in_int8("PABEE")]
    onnx_runtime = contenders[0]
    whole = onnx_runtime.settings[-1]
    torch.testing.assert_close(
        onnx_runtime.outcome("dev", whole).logits, run.static_logits()["dev"], atol=1e-4, rtol=1e-4
    )


def test_everyone_has_a_look_of_its_own() -> None:
    methods = find_methods().methods
    systems, ours = comparison().paper.systems, [*RIVALS, *methods, *exits_in_int8(methods.values())]
    looks = [systems[name] for name in ours]
    assert len(set(looks)) == len(looks), looks
    assert systems[in_int8("DeeBERT")].endswith("-plus")
    assert all(len(name) <= 14 for name in (*RIVALS, *map(in_int8, OF_EXITS)))
    headline = next(table for table in comparison().paper.tables if table.id == "comparison")
    assert all(len(metric.brief) <= 14 for metric in headline.metrics)
