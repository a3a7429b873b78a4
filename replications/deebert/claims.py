"""The statistics that decide the paper's claims, from stored predictions."""

from __future__ import annotations

from collections.abc import Mapping

from common.records.claims import Decide

DECIDERS: Mapping[str, Decide] = {}
