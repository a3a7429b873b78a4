"""Two tokenizers that do not read the same words are refused in one sentence."""

import pytest
from kit.toy_text import tokenizer

from common.encoders.tokenizers import require_same_words
from common.errors import UserError

ROLES = ("student", "teacher")


class Cased:
    """BERT's vocabulary, and another way to cut texts."""

    def get_vocab(self) -> dict[str, int]:
        return dict(tokenizer().get_vocab())

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": [1, 2, 3]}

    def __len__(self) -> int:
        return len(tokenizer())


class Smaller(Cased):
    def get_vocab(self) -> dict[str, int]:
        return {"a": 0}

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize("other", [Cased(), Smaller()])
def test_another_vocabulary_or_another_cut_is_refused(other: Cased) -> None:
    require_same_words(tokenizer(), tokenizer(), ROLES)
    with pytest.raises(UserError, match=f"student reads {len(other)} words and the teacher {len(tokenizer())}"):
        require_same_words(other, tokenizer(), ROLES)
