"""TinyBERT's mapping, losses and optimiser, and the traps in which paper and official code differ."""

import copy
import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.toy_splits import split_of
from tiny_pair import SIZE, shown
from torch import Tensor, nn
from torch.nn import functional as F

from common.encoders.layered import LayeredEncoder
from common.encoders.shapes import SHAPES, random_encoder
from common.errors import UserError
from common.training.batches import BucketedBatches
from common.training.loop import TrainingPlan, fit
from common.training.pretraining.observed import Observed
from replications.tinybert.distillation import batch_texts
from replications.tinybert.method import (
    MAX_NORM,
    Objective,
    Student,
    Students,
    StudentSize,
    adamw_by_tensor,
    attention_loss,
    check_pair,
    imitation_loss,
    mapped_layers,
    prediction_loss,
    states_loss,
)
from replications.tinybert.names import BOTTOM, TOP, UNIFORM

PLAN = TrainingPlan(1e-3, 2, 8, seed=0, weight_decay=0.01, max_gradient_norm=None)


# -- Layer mapping ----------------------------------------------------------------------------------------------------


def test_the_mappings_are_those_of_the_paper() -> None:
    assert mapped_layers(UNIFORM, 4, 12) == [0, 3, 6, 9, 12]
    assert mapped_layers(UNIFORM, 6, 12) == [0, 2, 4, 6, 8, 10, 12]
    assert mapped_layers(TOP, 4, 12) == [0, 9, 10, 11, 12]
    assert mapped_layers(BOTTOM, 4, 12) == [0, 1, 2, 3, 4]


@given(st.sampled_from([UNIFORM, TOP, BOTTOM]), st.integers(1, 8), st.integers(1, 6))
def test_a_mapping_rises_within_the_teacher_and_begins_at_the_embeddings(name: str, student: int, times: int) -> None:
    layers = mapped_layers(name, student, student * times)
    assert len(layers) == student + 1
    assert layers[0] == 0
    assert all(a < b for a, b in itertools.pairwise(layers))
    assert layers[-1] <= student * times
    if name != BOTTOM:
        assert layers[-1] == student * times, "the last layer is paired with the teacher's last"


def test_a_map_that_points_outside_or_between_is_refused() -> None:
    with pytest.raises(UserError, match="a student of 13 layers .* from a teacher of 12"):
        mapped_layers(TOP, 13, 12)
    with pytest.raises(UserError, match="between the teacher's layers: expected a student of 1, 2, 3, 4, 6, 12 layers"):
        mapped_layers(UNIFORM, 5, 12)
    with pytest.raises(UserError, match="unknown layer mapping 'middle'"):
        mapped_layers("middle", 4, 12)


def test_scores_are_paired_with_the_last_layer_of_each_block() -> None:
    """In the code's 0-based lists: attention i with i k + k - 1, hidden states i with i k."""
    k, layers = 3, mapped_layers(UNIFORM, 4, 12)
    assert [n - 1 for n in layers[1:]] == [i * k + k - 1 for i in range(4)]
    assert layers == [i * k for i in range(5)]


# -- Losses -----------------------------------------------------------------------------------------------------------


def invented(layers: int, width: int, seed: int, *, texts: int = 3, tokens: int = 5, heads: int = 2) -> Observed:
    """States and scores drawn at random."""
    g = torch.Generator().manual_seed(seed)
    hidden = tuple(torch.randn(texts, tokens, width, generator=g) for _ in range(layers + 1))
    scores = tuple(torch.randn(texts, heads, tokens, tokens, generator=g) for _ in range(layers))
    return Observed(hidden, scores)


def test_the_loss_is_the_cards_sum_over_layers() -> None:
    """By hand: embeddings, then hidden states and scores of every layer, one map W for all, weights 1."""
    mine, wanted, w = invented(2, 3, 0), invented(6, 4, 1), nn.Linear(3, 4)
    expected = F.mse_loss(w(mine.hidden[0]), wanted.hidden[0])
    for m, n in ((1, 3), (2, 6)):
        expected = expected + F.mse_loss(w(mine.hidden[m]), wanted.hidden[n])
        by_head = [F.mse_loss(mine.scores[m - 1][:, i], wanted.scores[n - 1][:, i]) for i in range(2)]
        expected = expected + sum(by_head) / 2
    torch.testing.assert_close(Objective().loss(mine, wanted, w, None), expected)


@pytest.mark.parametrize(
    ("objective", "terms"),
    [
        (Objective(embedding=False), {"hidden", "attention"}),
        (Objective(attention=False, hidden=False), {"embedding"}),
        (Objective(attention=False), {"embedding", "hidden"}),
        (Objective(hidden=False), {"embedding", "attention"}),
    ],
)
def test_an_ablation_leaves_out_its_terms_alone(objective: Objective, terms: set[str]) -> None:
    mine, wanted, w = invented(2, 3, 0), invented(4, 4, 1), nn.Linear(3, 4)
    pairs = ((1, 2), (2, 4))
    parts = {
        "embedding": F.mse_loss(w(mine.hidden[0]), wanted.hidden[0]),
        "hidden": sum(F.mse_loss(w(mine.hidden[m]), wanted.hidden[n]) for m, n in pairs),
        "attention": sum(F.mse_loss(mine.scores[m - 1], wanted.scores[n - 1]) for m, n in pairs),
    }
    torch.testing.assert_close(objective.loss(mine, wanted, w, None), sum(parts[name] for name in terms))


@pytest.mark.parametrize("mapping", [TOP, BOTTOM])
def test_the_mapping_chooses_the_teachers_layers(mapping: str) -> None:
    mine, wanted = invented(2, 4, 0), invented(4, 4, 1)
    layers = mapped_layers(mapping, 2, 4)
    same = Observed(tuple(wanted.hidden[n] for n in layers), tuple(wanted.scores[n - 1] for n in layers[1:]))
    assert Objective(mapping=mapping).loss(same, wanted, nn.Identity(), None) == 0
    assert Objective(mapping=UNIFORM).loss(same, wanted, nn.Identity(), None) > 0
    assert Objective(mapping=mapping).loss(mine, wanted, nn.Identity(), None) > 0


def padded(x: Tensor, by: int, value: float, dims: tuple[int, ...]) -> Tensor:
    """`x` with `by` further places filled with `value` along these dimensions."""
    for dim in dims:
        shape = list(x.shape)
        shape[dim] = by
        x = torch.cat([x, torch.full(shape, value)], dim)
    return x


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(0, 5), st.sampled_from([0.0, -1e4, -3e38]))
def test_padding_counts_nowhere_whatever_stands_there(lengths: list[int], more: int, value: float) -> None:
    """A text's loss is the mean over its own tokens and pairs; the official code's runs over padding, too."""
    longest = max(lengths) + more
    present = torch.arange(longest) < torch.tensor(lengths)[:, None]
    texts = [
        (invented(1, 3, 2 * i, texts=1, tokens=n), invented(1, 3, 2 * i + 1, texts=1, tokens=n))
        for i, n in enumerate(lengths)
    ]
    states, scores = [], []
    for side in (0, 1):
        fill = longest
        states.append(
            torch.cat(
                [
                    padded(t[side].hidden[1], fill - n, value if side else 7.0, (1,))
                    for t, n in zip(texts, lengths, strict=True)
                ]
            )
        )
        scores.append(
            torch.cat([padded(t[side].scores[0], fill - n, value, (2, 3)) for t, n in zip(texts, lengths, strict=True)])
        )
    alone = [(F.mse_loss(a.hidden[1], b.hidden[1]), F.mse_loss(a.scores[0], b.scores[0])) for a, b in texts]
    # What stands at padding may be as large as a float holds: its square is none.
    bounded = [s.clamp(-1e4, 1e4) for s in states]
    expected = [torch.stack(each).mean() for each in zip(*alone, strict=True)]
    torch.testing.assert_close(states_loss(bounded[0], bounded[1], present), expected[0])
    torch.testing.assert_close(attention_loss(scores[0], scores[1], present), expected[1])


def test_scores_that_are_low_but_no_padding_count() -> None:
    """The official code sets what is at most -100 to 0 in both models."""
    low, zero = torch.full((1, 1, 2, 2), -150.0), torch.zeros(1, 1, 2, 2)
    assert attention_loss(low, zero, None) == 150**2
    assert attention_loss(low, zero, torch.ones(1, 2, dtype=torch.bool)) == 150**2


def test_a_batch_costs_what_its_texts_cost_alone(teacher: LayeredEncoder, student: Student) -> None:
    """Through the encoders: lengths from 3 to 11 in one batch against one text at a time."""
    split = split_of(6, segments=True)
    loss = imitation_loss(teacher, {"one": Objective()}, batch_texts)
    students = Students({"one": student})
    with torch.no_grad():
        together = loss(students, split.batch(range(6)))
        alone = torch.stack([loss(students, split.batch([row])) for row in range(6)]).mean()
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_each_model_scales_its_scores_by_its_own_head_width(teacher: LayeredEncoder, student: Student) -> None:
    """Before the softmax: the probabilities that transformers gives are the softmax of what is compared."""
    batch = split_of(4, segments=True).batch([0])
    for encoder in (teacher, student.encoder):
        found = shown(encoder, batch)
        model = copy.deepcopy(encoder.model)
        model.set_attn_implementation("eager")
        with torch.no_grad():
            theirs = model(batch.input_ids, batch.attention_mask, batch.token_type_ids, output_attentions=True)
        for ours, probabilities in zip(found.scores, theirs.attentions, strict=True):
            torch.testing.assert_close(torch.softmax(ours, -1), probabilities, rtol=1e-4, atol=1e-5)


def test_the_prediction_loss_is_the_printed_cross_entropy() -> None:
    """Summed over classes (the official code divides by their number), no hard labels, no t squared."""
    z_s, z_t = torch.tensor([[1.0, -1.0, 0.5], [0.0, 2.0, 1.0]]), torch.tensor([[2.0, 0.0, 0.0], [1.0, 1.0, -1.0]])
    for t in (1.0, 2.0):
        by_text = [
            -sum(p * q for p, q in zip(torch.softmax(b / t, 0), torch.log_softmax(a / t, 0), strict=True))
            for a, b in zip(z_s, z_t, strict=True)
        ]
        torch.testing.assert_close(prediction_loss(z_s, z_t, t), torch.stack(by_text).mean())  # type: ignore[arg-type]


def test_of_a_regression_the_teachers_values_are_learned() -> None:
    assert prediction_loss(torch.tensor([[1.0], [2.0]]), torch.tensor([[0.0], [4.0]])) == (1 + 4) / 2


# -- Teaching ---------------------------------------------------------------------------------------------------------


def test_the_teacher_does_not_drop_out_while_it_teaches(teacher: LayeredEncoder, student: Student) -> None:
    """Whatever mode it came in; the student, in training, does."""
    batch, students = split_of(4).batch(range(4)), Students({"one": student})
    loss = imitation_loss(teacher.train(), {"one": Objective()}, batch_texts)
    students.eval()
    assert torch.equal(loss(students, batch), loss(students, batch))
    students.train()
    assert not torch.equal(loss(students, batch), loss(students, batch))
    assert not teacher.training


def test_no_gradient_reaches_the_teacher(teacher: LayeredEncoder, student: Student) -> None:
    imitation_loss(teacher, {"one": Objective()}, batch_texts)(
        Students({"one": student}), split_of(4).batch(range(4))
    ).backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert all(p.grad is not None for p in student.projection.parameters())
    assert student.encoder.word_embeddings.shape == (30522, 32)


def taught(teacher: LayeredEncoder, folder: Path, *names: str, objectives: dict[str, Objective]) -> Students:
    """Students after a few steps without dropout."""
    shape = SIZE.shape(teacher.config)
    still = copy.copy(shape)
    object.__setattr__(still, "dropout", 0.0)
    students = Students({name: Student.fresh(still, 64, seed=5) for name in names})
    chosen = {name: objectives[name] for name in names}
    loss = imitation_loss(teacher, chosen, batch_texts)
    fit(
        students,
        BucketedBatches(split_of(32), 8, 0),
        loss,
        PLAN,
        checkpoint=folder / "-".join(names),
        progress=lambda *_: None,
        make_optimizer=adamw_by_tensor,
    )
    return students


def test_side_by_side_students_learn_what_each_learns_alone(teacher: LayeredEncoder, tmp_path: Path) -> None:
    objectives = {"a": Objective(), "b": Objective(attention=False, mapping=TOP)}
    together = taught(teacher, tmp_path, "a", "b", objectives=objectives)
    for name in objectives:
        alone = taught(teacher, tmp_path, name, objectives=objectives)[name]
        for p, q in zip(together[name].parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=0, atol=1e-6)
    a, b = (together[name].parameters() for name in objectives)
    assert not all(torch.equal(p, q) for p, q in zip(a, b, strict=True))


def stepped(make: Callable[[nn.Module, TrainingPlan], torch.optim.Optimizer], plan: TrainingPlan) -> dict[str, Tensor]:
    """Parameters of two linear maps and a norm after one step with gradients of 100 and 0.001 each."""
    torch.manual_seed(0)
    module = nn.ModuleDict({"large": nn.Linear(2, 2), "small": nn.Linear(2, 2), "LayerNorm": nn.LayerNorm(2)})
    optimizer = make(module, plan)
    for name, p in module.named_parameters():
        p.grad = torch.full_like(p, 100.0 if name.startswith("large") else 0.001)
    optimizer.step()
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


def test_gradients_are_clipped_tensor_by_tensor() -> None:
    grads = stepped(adamw_by_tensor, PLAN)
    assert grads["large.weight"].norm().item() == pytest.approx(MAX_NORM)
    assert grads["large.bias"].norm().item() == pytest.approx(MAX_NORM)
    assert torch.equal(grads["small.weight"], torch.full((2, 2), 0.001)), "a large one does not shrink the others"


def test_a_plan_that_clips_all_gradients_together_is_refused() -> None:
    with pytest.raises(ValueError, match="max_gradient_norm must be None"):
        adamw_by_tensor(nn.Linear(2, 2), replace(PLAN, max_gradient_norm=1.0))


def test_biases_and_norms_do_not_decay() -> None:
    module = nn.ModuleDict({"map": nn.Linear(2, 2), "LayerNorm": nn.LayerNorm(2)})
    optimizer = adamw_by_tensor(module, PLAN)
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    found = {name: decays[id(p)] for name, p in module.named_parameters()}
    assert found == {"map.weight": 0.01, "map.bias": 0.0, "LayerNorm.weight": 0.0, "LayerNorm.bias": 0.0}


def test_the_papers_sizes_have_the_derived_parameters() -> None:
    """The encoders with their poolers: 14,350,248 and 66,955,008; the map 240,384."""
    bert = random_encoder("bert-base", device="meta")
    for size, count in ((StudentSize(4, 312, 1200), 14_350_248), (StudentSize(6, 768, 3072), 66_955_008)):
        shape = size.shape(bert.config)
        encoder = random_encoder(shape, device="meta")
        pooler = size.hidden * size.hidden + size.hidden
        assert sum(p.numel() for p in encoder.parameters()) + pooler == count
    assert sum(p.numel() for p in nn.Linear(312, 768).parameters()) == 240_384
    assert SHAPES["bert-base"].vocab == 30522
    assert math.isclose(312 / 12, 26)


@pytest.mark.parametrize("name", ["tiny-roberta", "tiny-albert", "tiny-mpnet"])
def test_any_encoder_of_the_suite_can_teach(name: str) -> None:
    """The student is a BERT whatever the teacher is; of MPNet's scores the bias by distance is imitated, too."""
    other = random_encoder(name, seed=0)
    student = Student.fresh(SIZE.shape(other.config), other.hidden_size, seed=1).eval()
    check_pair(student.encoder, other, Objective())
    loss = imitation_loss(other, {"one": Objective()}, batch_texts)
    value = loss(Students({"one": student}), split_of(4).batch(range(4)))
    value.backward()
    assert torch.isfinite(value)
    assert student.encoder.config.model_type == "bert"
