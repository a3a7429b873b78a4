"""Agora: fine-tuning a small model when data are scarce.

Copies of the model are fine-tuned, one for each set of hyper-parameters. What the best copy gets wrong on a
representative dev set is varied and labelled by an already trained, merely acceptable model; the new examples join the
training data, the least promising sets are dropped, and it begins again. After the note of the first author; step 6 and
the function that varies an example were not to be found and are ours.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from common.errors import UserError
from common.tasks.task import Example

ACCEPTABLE = 2 / 3
"""The accuracy above which a model may label (first author's note)."""

CHANGED = 0.15
"""Share of a text's words that are dropped or replaced, at least one (ours)."""

ModelT = TypeVar("ModelT")


@dataclass(frozen=True)
class Theta:
    """A set of hyper-parameters, theta: one element of the finite set Theta."""

    learning_rate: float
    weight_decay: float
    warmup: float
    batch_size: int
    seed: int

    @property
    def values(self) -> tuple[float, ...]:
        """As a tuple, which step 6 compares element by element."""
        return (self.learning_rate, self.weight_decay, self.warmup, self.batch_size, self.seed)

    @property
    def name(self) -> str:
        """For a table."""
        return (
            f"rate {self.learning_rate:g}, decay {self.weight_decay:g}, warm-up {self.warmup:g}, "
            f"batch {self.batch_size}, seed {self.seed}"
        )


class Learner(Protocol[ModelT]):
    """What the loop needs: the model f to be fine-tuned, and D."""

    def train(self, added: Sequence[Example], theta: Theta) -> ModelT:
        """Fine-tune a fresh copy of f on D and what was added to it."""

    def answers(self, model: ModelT, examples: Sequence[Example]) -> NDArray[Any]:
        """(N,) the classes that a trained model gives."""


@dataclass(frozen=True)
class Round(Generic[ModelT]):
    """One turn of the loop.

    Attributes:
        thetas, accuracies: the sets that were left, and the accuracy of each copy on E.
        model: the best copy.
        wrong: how many examples of E it got wrong.
        added: how many examples D had been given before this round.
        dropped: the sets that went at its end.
    """

    thetas: tuple[Theta, ...]
    accuracies: tuple[float, ...]
    model: ModelT
    wrong: int
    added: int
    dropped: tuple[Theta, ...]

    @property
    def best(self) -> int:
        """Place of the best copy; of equals the first."""
        return int(np.argmax(self.accuracies))


@dataclass(frozen=True)
class Outcome(Generic[ModelT]):
    """All rounds."""

    rounds: tuple[Round[ModelT], ...]

    @property
    def best(self) -> Round[ModelT]:
        """The round of the best model seen; of equals the earliest."""
        return max(self.rounds, key=lambda r: r.accuracies[r.best])

    @property
    def model(self) -> ModelT:
        """The best model seen."""
        return self.best.model

    @property
    def trainings(self) -> int:
        """How many copies were fine-tuned."""
        return sum(len(r.thetas) for r in self.rounds)


Vary = Callable[[Sequence[Example]], Sequence[Example]]
"""tau: generated neighbours of examples; their labels mean nothing."""

Label = Callable[[Sequence[Example]], NDArray[Any]]
"""(N,) the classes that the acceptable model gives."""


def agora(
    learner: Learner[ModelT], thetas: Sequence[Theta], dev: Sequence[Example], tau: Vary, label: Label
) -> Outcome[ModelT]:
    """Run the loop until Theta is empty; the best model seen is the result.

    Args:
        learner: fine-tunes f on D.
        thetas: Theta.
        dev: E, representative of the task. What is reported must be scored on other examples.
        tau: varies the examples of E that were wrong; they themselves are never trained on.
        label: of the acceptable model.

    Raises:
        UserError: no hyper-parameters, or no dev examples.
    """
    if not thetas:
        raise UserError("Agora needs at least one set of hyper-parameters to fine-tune with")
    if not dev:
        raise UserError("Agora needs dev examples: it learns from those that the model gets wrong")
    truth = np.array([e.label for e in dev])
    left, added = list(thetas), list[Example]()
    rounds: list[Round[ModelT]] = []
    while left:
        models = [learner.train(tuple(added), theta) for theta in left]  # 1
        right = [learner.answers(model, dev) == truth for model in models]
        accuracies = tuple(float(r.mean()) for r in right)
        best = int(np.argmax(accuracies))  # 2
        wrong = [e for e, ok in zip(dev, right[best], strict=True) if not ok]  # 3
        before = len(added)
        added += labelled(tau(wrong), label, forbidden=dev)  # 3, 4
        dropped = least_promising(left, accuracies)  # 5, 6
        rounds.append(Round(tuple(left), accuracies, models[best], len(wrong), before, dropped))
        left = [theta for theta in left if theta not in dropped]
    return Outcome(tuple(rounds))


def labelled(varied: Sequence[Example], label: Label, forbidden: Sequence[Example]) -> list[Example]:
    """The varied examples with the acceptable model's labels; what stands in the dev set word for word is left out."""
    texts = {(e.text_a, e.text_b) for e in forbidden}
    fresh = [e for e in varied if (e.text_a, e.text_b) not in texts]
    if not fresh:
        return []
    return [replace(e, label=float(answer)) for e, answer in zip(fresh, label(fresh), strict=True)]


def least_promising(thetas: Sequence[Theta], accuracies: Sequence[float]) -> tuple[Theta, ...]:
    """What step 6 drops; at least the worst.

    Sets are sorted from the worst on. What goes is the longest run that begins with the worst and has a value in common
    at some place; places at which all of `thetas` are alike do not count.
    """
    order = sorted(range(len(thetas)), key=lambda i: accuracies[i])
    ranked = [thetas[i] for i in order]
    first = ranked[0].values
    shared = {place for place in range(len(first)) if len({theta.values[place] for theta in thetas}) > 1}
    run = 1
    for theta in ranked[1:]:
        shared = {place for place in shared if theta.values[place] == first[place]}
        if not shared:
            break
        run += 1
    return tuple(ranked[:run])


def vary(examples: Sequence[Example], words: Sequence[str], seed: int) -> list[Example]:
    """Tau (ours): of each example one neighbour, in which `CHANGED` of the words are dropped or replaced.

    Args:
        examples: single texts or pairs; of a pair both texts count as one.
        words: what replaces a word, drawn uniformly.
        seed: of the draws.
    """
    draw = random.Random(seed)
    return [_neighbour(e, words, draw) for e in examples]


def _neighbour(example: Example, words: Sequence[str], draw: random.Random) -> Example:
    texts = [example.text_a.split(), (example.text_b or "").split()]
    places = range(sum(map(len, texts)))
    chosen = set(draw.sample(places, min(len(places), max(1, round(CHANGED * len(places))))))
    left, kept = [len(text) for text in texts], [list[str](), list[str]()]
    for place in places:
        part = int(place >= len(texts[0]))
        word = texts[part][place - part * len(texts[0])]
        if place not in chosen:
            kept[part].append(word)
        elif left[part] > 1 and draw.random() < 0.5:
            left[part] -= 1
        else:
            kept[part].append(_another(word, words, draw))
    second = None if example.text_b is None else " ".join(kept[1])
    return replace(example, text_a=" ".join(kept[0]), text_b=second)


def _another(word: str, words: Sequence[str], draw: random.Random) -> str:
    """A random word that is not `word`, where there is one."""
    found = draw.choice(words)
    return found if found != word else draw.choice([other for other in words if other != word] or [word])
