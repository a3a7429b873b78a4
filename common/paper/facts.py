"""What is known about a paper besides its tables, figures and claims, each fact with its source."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

Provenance = Literal["fulltext", "official-code", "official-readme", "secondary", "memory", "eyeballed", "ours"]
Scalar = bool | int | float | str | None
HyperValue = Scalar | tuple[Scalar, ...] | dict[str, Scalar | tuple[Scalar, ...]]

UNVERIFIED: frozenset[str] = frozenset({"secondary", "memory", "eyeballed"})
"""Provenances that do not reach back to the paper or its authors' own release: marked wherever printed."""


class Facts(BaseModel):
    """Base of every part of paper.yaml: immutable, no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Code(Facts):
    """The authors' own code: repository, licence, and the commit that was read."""

    repo: str
    licence: str | None = None
    commit: str | None = None
    note: str = ""


class Citation(Facts):
    """What to cite."""

    title: str
    authors: tuple[str, ...]
    venue: str
    year: int
    arxiv: str | None = None
    anthology: str | None = None
    doi: str | None = None
    code: Code | None = None


class Hyperparameter(Facts):
    """A setting of the paper, with the place that states it (paper section, code file, or `ours`)."""

    name: str
    value: HyperValue
    source: str
    provenance: Provenance

    @model_validator(mode="after")
    def _no_number_in_disguise(self) -> Hyperparameter:
        # YAML 1.1 reads 2e-5 as text: only 2.0e-5 is a number.
        if isinstance(self.value, str) and _is_number(self.value):
            raise ValueError(f"{self.value!r} is text in YAML; write it with a point, like 2.0e-5")
        return self


class Erratum(Facts):
    """A place where the paper, or its code, contradicts itself."""

    where: str
    what: str


class Deviation(Facts):
    """A numbered difference between the replication and the paper, with its reason."""

    id: int
    what: str
    why: str


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
