"""Fetching an encoder's files from the Hugging Face hub, all of one commit, or from its cache.

The files are fetched first and read as a local folder afterwards. So one request decides whether there is a network at
all (the loaders of transformers repeat each of theirs for half a minute), configuration, weights and tokenizer are of
the same commit, and nothing but the files named here is ever transferred: no pickled weights, no code.
"""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

from common.encoders.checkpoints import CONFIG, WEIGHTS, quiet
from common.errors import UserError

KNOWN_NAMES = "'minilm', 'mpnet', 'random:<shape>', a local folder, or a hub id such as google-bert/bert-base-uncased"
"""What `load_encoder` takes, for messages."""

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
)


def fetch_snapshot(repository: str, revision: str | None = None) -> Path:
    """The local folder with the repository's files; its name is the commit.

    Without network the cached snapshot of that revision is taken, if there is one.

    Args:
        repository: hub id, e.g. `google-bert/bert-base-uncased`.
        revision: branch, tag or commit; the main branch by default.

    Raises:
        UserError: no network and nothing cached, an unknown repository or revision, or an unusable name.
    """
    try:
        with quiet():
            folder = snapshot_download(
                repository, revision=revision, allow_patterns=[CONFIG, WEIGHTS, *_TOKENIZER_FILES]
            )
    except RepositoryNotFoundError as error:
        raise UserError(f"no encoder {repository!r} on the hub (or it is private): expected {KNOWN_NAMES}") from error
    except RevisionNotFoundError as error:
        raise UserError(f"the encoder {repository!r} on the hub has no revision {revision!r}") from error
    except LocalEntryNotFoundError as error:
        raise UserError(
            f"cannot fetch the encoder {repository!r}: no network, and it was not fetched before. Connect, or choose a "
            "scale whose encoder is here: SCALE=mini"
        ) from error
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"cannot fetch the encoder {repository!r} from the hub: {reason}") from error
    return Path(folder)
