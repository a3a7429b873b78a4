"""Passages as layer k leaves them, kept on disk: what is computed once, whoever asks later.

A cache is a folder. `about.json` says which model's lower layers made it, at which k and in which precision; each `add`
writes a shard of states (safetensors) and then, as its last act, the shard's index. So passages are added without
touching what is there, a reader sees whole shards alone, and any number of processes may read while others add. Opening
reads the indices; of a shard only the rows that are asked for.

    <cache>/about.json
    <cache>/shards/<name>.safetensors    states (T, H): one passage after the other, without padding
    <cache>/shards/<name>.json           key, first row and number of rows of each passage; the shard's size and SHA-256

A passage's key is a hash of its tokens; at which position they begin is the same for all of a cache. The model's is one
of the weights that the states depend on: embeddings and layers 1..k. What the upper layers or the head learn does not
make a cache stale.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from common.errors import UserError
from common.file_hash import file_sha256
from common.records.measurements import atomic_write, write_json
from common.training.segments import Segment, SegmentLayout, padded
from replications.deformer.method import DeFormer, check_k

Precision = Literal["float32", "float16", "bfloat16"]

DTYPES: dict[str, torch.dtype] = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

ABOUT, SHARDS = "about.json", "shards"

IN_A_SHARD, AT_ONCE = 512, 16
"""Passages in a shard, and in a batch of the lower layers."""


class About(BaseModel):
    """What a cache's states are, and whose.

    Attributes:
        model: SHA-256 over the embeddings and the layers 1..k.
        k: how many layers they went through.
        width: H.
        precision: of the stored numbers.
        token_type: 1 for second segments (passages), 0 for first ones.
        first_position: of their first token.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    model: str
    k: int
    width: int
    precision: Precision
    token_type: int = 1
    first_position: int = 0

    @staticmethod
    def of(model: DeFormer, layout: SegmentLayout, precision: Precision = "float32", token_type: int = 1) -> About:
        """What a cache of this model's lower layers says, of texts in this layout.

        Raises:
            UserError: the model has nothing apart.
        """
        check_k(model.k, model.encoder.num_layers)
        return About(
            model=lower_fingerprint(model),
            k=model.k,
            width=model.encoder.hidden_size,
            precision=precision,
            token_type=token_type,
            first_position=layout.first_position(token_type),
        )


class Entry(BaseModel):
    """Where a passage's states are in a shard."""

    key: str
    begin: int
    tokens: int


class ShardIndex(BaseModel):
    """What a shard holds."""

    size: int
    sha256: str
    entries: list[Entry]


def lower_fingerprint(model: DeFormer) -> str:
    """SHA-256 of all weights that B_k depends on."""
    above = tuple(f"encoder.layer.{i}." for i in range(model.k, model.encoder.num_layers))
    digest = hashlib.sha256()
    for name, tensor in sorted(model.encoder.model.state_dict().items()):
        if not name.startswith((*above, "pooler.")):
            digest.update(name.encode() + b"\0")
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def key_of(tokens: Sequence[int]) -> str:
    """The key of a segment's tokens: SHA-256."""
    return hashlib.sha256(json.dumps(list(tokens)).encode()).hexdigest()


class PassageCache:
    """Passages at layer k, on disk.

    Attributes:
        folder: where.
        about: what they are.
    """

    def __init__(self, folder: Path, about: About) -> None:
        """Use `open` or `make`."""
        self.folder, self.about = folder, about
        self._places: dict[str, tuple[Path, Entry]] = {}
        self._opened: dict[Path, Any] = {}
        self._known: set[Path] = set()
        self.refresh()

    @staticmethod
    def make(folder: Path, about: About) -> PassageCache:
        """Open the cache at `folder`, or begin an empty one.

        Raises:
            UserError: there is one of another model, k, precision or position, or something else, or it cannot be
                written.
        """
        if (folder / ABOUT).exists():
            return PassageCache.open(folder, about)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder} is there and is no cache of passages: name a new folder")
        write_json(folder / ABOUT, about.model_dump())
        return PassageCache.open(folder, about)

    @staticmethod
    def open(folder: Path, about: About) -> PassageCache:
        """Open a cache that must be of this model, k, precision and position; its states are not read.

        Raises:
            UserError: there is none, it is of another one, or a shard is missing or cut short.
        """
        found = _read(folder / ABOUT, About, "a cache of passages")
        for name, what in (
            ("k", "layers apart"),
            ("model", "the weights of the lower layers"),
            ("width", "the width"),
            ("precision", "the precision"),
            ("token_type", "the segment"),
            ("first_position", "the first token's positions"),
        ):
            mine, theirs = getattr(about, name), getattr(found, name)
            if mine != theirs:
                raise UserError(
                    f"{folder} was made by another model: {what} are {_short(theirs)} there and {_short(mine)} here. "
                    "Its states mean nothing to this one: index the passages again, into a new folder"
                )
        return PassageCache(folder, found)

    def refresh(self) -> None:
        """Take up what others have added meanwhile.

        Raises:
            UserError: a shard is missing, cut short or of another size than its index says.
        """
        for index in sorted((self.folder / SHARDS).glob("*.json")):
            if index not in self._known:
                content = _read(index, ShardIndex, "the index of a shard")
                shard = index.with_suffix(".safetensors")
                size = shard.stat().st_size if shard.is_file() else 0
                if size != content.size:
                    raise UserError(
                        f"{shard} is damaged: {size} bytes, expected {content.size}. Remove {self.folder} and index "
                        "the passages again"
                    )
                self._known.add(index)
                self._places.update({entry.key: (shard, entry) for entry in content.entries})

    def verify(self) -> None:
        """Read everything and compare it with what was written.

        Raises:
            UserError: a shard is not what was written.
        """
        for index in sorted(self._known):
            shard = index.with_suffix(".safetensors")
            if file_sha256(shard) != _read(index, ShardIndex, "the index of a shard").sha256:
                raise UserError(f"{shard} is damaged: its SHA-256 is not the recorded one. Index the passages again")

    def __len__(self) -> int:
        """How many passages there are."""
        return len(self._places)

    def __contains__(self, key: str) -> bool:
        return key in self._places

    @property
    def nbytes(self) -> int:
        """Bytes of all states."""
        return sum(entry.tokens for _, entry in self._places.values()) * self.bytes_per_token

    @property
    def bytes_per_token(self) -> int:
        """H numbers."""
        return self.about.width * DTYPES[self.about.precision].itemsize

    def add(self, keys: Sequence[str], states: Sequence[Tensor]) -> None:
        """Write a shard of passages, each with its states (tokens, H); those that are there already are left out.

        Raises:
            UserError: the folder cannot be written.
        """
        new = {key: state for key, state in zip(keys, states, strict=True) if key not in self}
        if not new:
            return
        entries, row = [], 0
        for key, state in new.items():
            entries.append(Entry(key=key, begin=row, tokens=len(state)))
            row += len(state)
        name = self.folder / SHARDS / f"{uuid.uuid4().hex}.safetensors"
        kept = torch.cat(list(new.values())).to("cpu", DTYPES[self.about.precision])
        with atomic_write(name) as temporary:
            try:
                save_file({"states": kept}, temporary)
            except SafetensorError as error:
                raise UserError(f"cannot write {name}: {error}") from error
        index = ShardIndex(size=name.stat().st_size, sha256=file_sha256(name), entries=entries)
        write_json(name.with_suffix(".json"), index.model_dump())
        self.refresh()

    def states(self, keys: Sequence[str]) -> tuple[Tensor, Tensor]:
        """B_k of some passages as (P, L, H) float32, and their padding mask (P, L); padded to the longest with zeros.

        Raises:
            UserError: a passage is not there, or its shard cannot be read.
        """
        places = [self._place(key) for key in keys]
        length = max(entry.tokens for _, entry in places)
        states = torch.zeros(len(keys), length, self.about.width)
        mask = torch.zeros(len(keys), length, dtype=torch.long)
        for row, (shard, entry) in enumerate(places):
            states[row, : entry.tokens] = self._rows(shard)[entry.begin : entry.begin + entry.tokens]
            mask[row, : entry.tokens] = 1
        return states, mask

    def _place(self, key: str) -> tuple[Path, Entry]:
        if key not in self._places:
            raise UserError(f"{self.folder} does not hold the passage {key[:12]}...: index it first")
        return self._places[key]

    def _rows(self, shard: Path) -> Any:  # noqa: ANN401
        """The shard's states, rows of which are read when they are asked for."""
        if shard not in self._opened:
            try:
                self._opened[shard] = safe_open(shard, framework="pt").get_slice("states")
            except (OSError, SafetensorError) as error:
                raise UserError(f"{shard} is damaged: {error}. Index the passages again") from error
        return self._opened[shard]


@torch.inference_mode()
def encode_passages(
    model: DeFormer,
    segments: Sequence[Sequence[int]],
    cache: PassageCache,
    padding_id: int,
    device: torch.device,
    advance: Callable[[int, int], object] = lambda done, total: None,
) -> list[str]:
    """Compute B_k of segments (token ids, special tokens included) in batches and add what the cache lacks.

    Returns:
        The key of each.
    """
    keys = [key_of(tokens) for tokens in segments]
    missing = list({key: tokens for key, tokens in zip(keys, segments, strict=True) if key not in cache}.items())
    # Passages of like length share a batch.
    missing.sort(key=lambda item: len(item[1]))
    for start in range(0, len(missing), IN_A_SHARD):
        part = missing[start : start + IN_A_SHARD]
        states = [state for batch in _batches(part) for state in _states(model, batch, cache, padding_id, device)]
        cache.add([key for key, _ in part], states)
        advance(start + len(part), len(missing))
    return keys


def _batches(items: Sequence[tuple[str, Sequence[int]]]) -> Iterator[list[Sequence[int]]]:
    for start in range(0, len(items), AT_ONCE):
        yield [tokens for _, tokens in items[start : start + AT_ONCE]]


def _states(
    model: DeFormer, batch: list[Sequence[int]], cache: PassageCache, padding_id: int, device: torch.device
) -> list[Tensor]:
    about = cache.about
    segment: Segment = padded(batch, padding_id, about.token_type, 0, about.first_position).to(device)
    states = model.lower(segment).cpu()
    return [state[: len(tokens)] for state, tokens in zip(states, batch, strict=True)]


def _read(path: Path, kind: type[Any], what: str) -> Any:  # noqa: ANN401
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: expected {what}, found none: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{path}: expected {what}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _short(value: object) -> str:
    return f"{str(value)[:12]}"
