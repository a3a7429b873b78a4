"""Reading a checkpoint quietly and strictly.

transformers draws every weight that a checkpoint lacks at random and only logs it; it prints progress bars; it takes
the precision of the file; it falls back to pickled files. None of that may happen unseen in a measurement. Here a
checkpoint is read in float32 from safetensors alone, nothing is printed, the global random state of torch is left as it
was, and a weight that is missing is an error, except for the pooler's, which the caller is told about.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open

from common.errors import UserError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
PICKLED = "pytorch_model.bin"
MODEL_TYPES = ("bert", "roberta", "albert", "mpnet")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A transformers model as it was read.

    Attributes:
        model: the encoder in evaluation mode, float32, on the CPU.
        has_pooler: whether the checkpoint held the pooler's weights.
    """

    model: Any
    has_pooler: bool


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers and the hub from printing progress bars and warnings inside the block."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    log = transformers.utils.logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    hub_bars = not are_progress_bars_disabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    disable_progress_bars()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()
        if hub_bars:
            enable_progress_bars()


def read_metadata(weights: Path) -> Mapping[str, str]:
    """The metadata in the header of a safetensors file.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        with safe_open(weights, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot read {weights}: {error}") from error


def check_folder(folder: Path) -> None:
    """Make sure that `folder` holds an encoder of a known type with safetensors weights.

    Raises:
        UserError: config.json or model.safetensors is missing or unreadable, or the model type is not known.
    """
    check_type(str(folder), read_type(folder))
    if (folder / WEIGHTS).is_file():
        return
    if (folder / PICKLED).is_file():
        raise UserError(
            f"{folder} holds {PICKLED} only, a pickled file, which can run any code when opened and is refused: "
            f"convert it to {WEIGHTS} where you trust it (model.save_pretrained writes that format)"
        )
    raise UserError(f"no encoder in {folder}: expected {WEIGHTS} beside {CONFIG}")


def read_type(folder: Path) -> str | None:
    """The model type that config.json names.

    Raises:
        UserError: config.json is missing or unreadable.
    """
    config = folder / CONFIG
    try:
        model_type: str | None = json.loads(config.read_text(encoding="utf-8")).get("model_type")
    except OSError as error:
        raise UserError(f"no encoder in {folder}: cannot read {config.name}: {error.strerror}") from error
    except (ValueError, AttributeError) as error:
        raise UserError(f"{config} is not a model configuration: {error}") from error
    return model_type


def attention_kernel(model_type: str | None) -> str:
    """The attention that an encoder is opened with: the fused kernel, or plain products where there is no other."""
    return "eager" if model_type == "mpnet" else "sdpa"


def check_type(name: str, model_type: str | None) -> None:
    """Make sure that the model type can be opened layer by layer.

    Raises:
        UserError: it cannot.
    """
    if model_type not in MODEL_TYPES:
        raise UserError(f"{name} is a model of type '{model_type}': expected one of {', '.join(MODEL_TYPES)}")


def read_checkpoint(folder: Path, *, pooler: bool = True) -> Checkpoint:
    """Read an encoder from a folder with config.json and model.safetensors.

    Args:
        folder: a checkpoint of the encoder alone or of a model with heads, which are left out.
        pooler: whether to build a pooler; False for architectures without one.

    Raises:
        UserError: a file is missing or damaged, the model type is not known, or the weights do not fit.
    """
    check_folder(folder)
    with quiet(), torch.random.fork_rng(devices=[]), _explained(folder):
        model, report = transformers.AutoModel.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            attn_implementation=attention_kernel(read_type(folder)),
            add_pooling_layer=pooler,
            output_loading_info=True,
        )
    missing = set(report["missing_keys"])
    wrong = sorted(name for name in missing if not name.startswith("pooler."))
    if wrong:
        raise UserError(
            f"{folder / WEIGHTS} does not hold the weights of the encoder in {CONFIG}: {len(wrong)} are missing, the "
            f"first is {wrong[0]}"
        )
    return Checkpoint(model=model.eval(), has_pooler=pooler and not missing)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn the errors of transformers and safetensors into one sentence."""
    try:
        yield
    except SafetensorError as error:
        raise UserError(f"{folder / WEIGHTS} is damaged: {error}") from error
    except (OSError, ValueError, RuntimeError) as error:
        # Their messages run over many lines; the first says what is wrong.
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"cannot load the encoder in {folder}: {reason}") from error
