"""Passages on disk: keyed by content, model and k; refused when stale or cut; added to; read while others add."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_pairs import LAYOUT, RUNS_ON, split_of

from common.encoders.layered import LayeredEncoder
from common.encoders.shapes import random_encoder
from common.errors import UserError
from common.training.segments import SegmentLayout, TwoSegmentBatch, padded
from replications.deformer.cache import ABOUT, About, PassageCache, encode_passages, key_of, lower_fingerprint
from replications.deformer.method import DeFormer
from replications.deformer.online import Online

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=["tiny", "tiny-mpnet"])
def encoder(request: pytest.FixtureRequest) -> LayeredEncoder:
    return random_encoder(request.param, seed=0).eval()


@pytest.fixture(scope="module")
def model(encoder: LayeredEncoder) -> DeFormer:
    return DeFormer.reader(encoder, 2, seed=0).eval()


@pytest.fixture(scope="module")
def bert() -> DeFormer:
    return DeFormer.reader(random_encoder("tiny", seed=0), 2, seed=0).eval()


def filled(
    folder: Path, model: DeFormer, count: int = 6, layout: SegmentLayout = LAYOUT
) -> tuple[PassageCache, list[str]]:
    cache = PassageCache.make(folder, About.of(model, layout))
    return cache, encode_passages(model, split_of(count).second_ids, cache, 0, CPU)


# -- Online -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [LAYOUT, RUNS_ON], ids=["anew", "running on"])
def test_a_question_over_cached_passages_is_the_model_itself(
    model: DeFormer, tmp_path: Path, layout: SegmentLayout
) -> None:
    """Several questions, several passages each, in one call."""
    split, (cache, keys) = split_of(6, layout=layout), filled(tmp_path, model, layout=layout)
    of, rows = [0, 0, 1, 2, 1], [0, 3, 3, 5, 1]
    live = padded(split.first_ids[:3], 0, 0, split.layout.first_slot)
    found = Online(model, cache)(live, of, [keys[row] for row in rows])
    second = split.batch(rows).second
    batch = TwoSegmentBatch(live.rows(torch.tensor(of)), second, torch.zeros(5), torch.arange(5))
    with torch.inference_mode():
        expected = model(batch)
    text = batch.attention_mask.bool()
    torch.testing.assert_close(found.logits[text], expected[text], rtol=0, atol=1e-5)
    assert torch.equal(found.text, batch.second_text)


@pytest.mark.parametrize("layout", [LAYOUT, RUNS_ON], ids=["anew", "running on"])
def test_the_first_segment_can_be_the_cached_one(bert: DeFormer, tmp_path: Path, layout: SegmentLayout) -> None:
    """MNLI's premise: its positions begin at 0, wherever those of the live segment do."""
    model = DeFormer.classifier(bert.encoder, 2, 3, seed=0).eval()
    split = split_of(4, layout=layout, classes=3)
    cache = PassageCache.make(tmp_path, About.of(model, layout, token_type=0))
    assert cache.about.first_position == 0
    keys = encode_passages(model, split.first_ids, cache, 0, CPU)
    live = split.batch(range(4)).second
    found = Online(model, cache)(live, range(4), keys)
    with torch.inference_mode():
        torch.testing.assert_close(found.logits, model(split.batch(range(4))), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("float16", 2e-2), ("bfloat16", 1e-1)])
def test_precisions(bert: DeFormer, tmp_path: Path, precision: str, tolerance: float) -> None:
    split = split_of(3)
    cache = PassageCache.make(tmp_path, About.of(bert, LAYOUT, precision))  # type: ignore[arg-type]
    keys = encode_passages(bert, split.second_ids, cache, 0, CPU)
    states, mask = cache.states(keys)
    with torch.inference_mode():
        exact = bert.lower(split.batch(range(3)).second)
    torch.testing.assert_close(states[mask.bool()], exact[mask.bool()], rtol=0, atol=tolerance)
    tokens = sum(len(ids) for ids in split.second_ids)
    assert cache.nbytes == tokens * 64 * (4 if precision == "float32" else 2)
    assert states.dtype == torch.float32 and not states[~mask.bool()].any()


# -- What is refused --------------------------------------------------------------------------------------------------


def test_a_cache_of_another_model_k_precision_or_beginning_is_refused(bert: DeFormer, tmp_path: Path) -> None:
    filled(tmp_path, bert)
    other = DeFormer.reader(random_encoder("tiny", seed=1), 2, seed=0)
    for about, what in (
        (About.of(other, LAYOUT), "the weights of the lower layers are"),
        (About.of(DeFormer.reader(bert.encoder, 3, seed=0), LAYOUT), "layers apart are 2 there and 3 here"),
        (About.of(bert, LAYOUT, "float16"), "the precision are float32 there and float16 here"),
        (About.of(bert, LAYOUT, token_type=0), "the segment are 1 there and 0 here"),
        (About.of(bert, RUNS_ON), "the first token's positions are 0 there and 8 here"),
    ):
        for opened in (PassageCache.open, PassageCache.make):
            with pytest.raises(UserError, match=f"{what}.*index the passages again"):
                opened(tmp_path, about)


def test_a_cache_that_does_not_say_where_positions_begin_has_them_from_0(bert: DeFormer, tmp_path: Path) -> None:
    """As all did before they could run on."""
    filled(tmp_path, bert)
    about = json.loads((tmp_path / ABOUT).read_text())
    assert about.pop("first_position") == 0
    (tmp_path / ABOUT).write_text(json.dumps(about))
    assert len(PassageCache.open(tmp_path, About.of(bert, LAYOUT))) == 6
    with pytest.raises(UserError, match="the first token's positions are 0 there and 8 here"):
        PassageCache.open(tmp_path, About.of(bert, RUNS_ON))


def test_only_the_weights_below_k_make_a_cache_stale(bert: DeFormer) -> None:
    """The head and the joint layers may learn on; an embedding or a lower layer may not."""
    fresh = DeFormer.reader(random_encoder("tiny", seed=0), 2, seed=5)
    assert lower_fingerprint(fresh) == lower_fingerprint(bert)
    with torch.no_grad():
        next(fresh.encoder.layer_module(3).parameters()).add_(1)
    assert lower_fingerprint(fresh) == lower_fingerprint(bert)
    for module in (fresh.encoder.layer_module(2), fresh.encoder.embeddings):
        with torch.no_grad():
            next(module.parameters()).add_(1)
        assert lower_fingerprint(fresh) != lower_fingerprint(bert)
        with torch.no_grad():
            next(module.parameters()).sub_(1)


@pytest.mark.parametrize("damage", ["cut", "gone", "index", "about"])
def test_a_cut_or_missing_file_is_refused(bert: DeFormer, tmp_path: Path, damage: str) -> None:
    filled(tmp_path, bert)
    (shard,) = (tmp_path / "shards").glob("*.safetensors")
    if damage == "cut":
        shard.write_bytes(shard.read_bytes()[:-100])
    elif damage == "gone":
        shard.unlink()
    elif damage == "index":
        shard.with_suffix(".json").write_text('{"size": 3}')
    else:
        (tmp_path / ABOUT).write_text("{")
    with pytest.raises(UserError, match=r"is damaged|expected the index of a shard|expected a cache of passages"):
        PassageCache.open(tmp_path, About.of(bert, LAYOUT))


def test_what_changed_in_place_is_found_by_verify(bert: DeFormer, tmp_path: Path) -> None:
    cache, _ = filled(tmp_path, bert)
    cache.verify()
    (shard,) = (tmp_path / "shards").glob("*.safetensors")
    content = bytearray(shard.read_bytes())
    content[-5] ^= 1
    shard.write_bytes(content)
    with pytest.raises(UserError, match="its SHA-256 is not the recorded one"):
        PassageCache.open(tmp_path, About.of(bert, LAYOUT)).verify()


def test_a_folder_of_something_else_or_of_nothing_is_refused(bert: DeFormer, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("x")
    with pytest.raises(UserError, match="is there and is no cache of passages: name a new folder"):
        PassageCache.make(tmp_path, About.of(bert, LAYOUT))
    with pytest.raises(UserError, match="expected a cache of passages, found none"):
        PassageCache.open(tmp_path / "absent", About.of(bert, LAYOUT))
    cache, _ = filled(tmp_path / "new", bert)
    with pytest.raises(UserError, match="does not hold the passage"):
        cache.states([key_of((1, 2, 3))])
    with pytest.raises(UserError, match="got 0"):
        About.of(DeFormer.reader(bert.encoder, 0, seed=0), LAYOUT)


# -- Adding -----------------------------------------------------------------------------------------------------------


def test_adding_keeps_what_is_there_and_computes_what_is_new_alone(
    bert: DeFormer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, keys = filled(tmp_path, bert, 4)
    before = {path: path.read_bytes() for path in (tmp_path / "shards").iterdir()}
    seen: list[int] = []
    lower = DeFormer.lower
    monkeypatch.setattr(
        DeFormer, "lower", lambda self, segment: (seen.append(len(segment.input_ids)), lower(self, segment))[1]
    )
    again = encode_passages(bert, [*split_of(4).second_ids, (7, 8, 102)], cache, 0, CPU)
    assert again[:4] == keys and sum(seen) == 1 and len(cache) == 5
    assert {path: path.read_bytes() for path in before} == before
    assert cache.states([again[4]])[1].tolist() == [[1, 1, 1]]


def test_a_reader_sees_whole_shards_and_takes_up_new_ones_when_it_asks(bert: DeFormer, tmp_path: Path) -> None:
    cache, keys = filled(tmp_path, bert, 3)
    reader = PassageCache.open(tmp_path, About.of(bert, LAYOUT))
    encode_passages(bert, [(7, 8, 102)], cache, 0, CPU)
    (tmp_path / "shards" / "half.safetensors").write_bytes(b"written without its index yet")
    assert len(reader) == 3
    assert torch.equal(reader.states(keys)[0], cache.states(keys)[0])
    reader.refresh()
    assert len(reader) == 4


READING = """
import sys
from pathlib import Path
from replications.deformer.cache import About, PassageCache
about = About.model_validate_json(sys.argv[2])
cache = PassageCache.open(Path(sys.argv[1]), about)
print(len(cache), float(cache.states(sys.argv[3:])[0].sum()))
"""


def test_two_processes_read_while_one_adds(bert: DeFormer, tmp_path: Path) -> None:
    cache, keys = filled(tmp_path, bert, 3)
    command = [sys.executable, "-c", READING, str(tmp_path), cache.about.model_dump_json(), *keys]
    readers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for number in range(20):
        encode_passages(bert, [(7 + number, 8, 102)], cache, 0, CPU)
    told = [process.communicate(timeout=120)[0].split() for process in readers]
    assert all(process.returncode == 0 for process in readers)
    expected = float(cache.states(keys)[0].sum())
    assert all(3 <= int(count) <= 23 and float(total) == pytest.approx(expected) for count, total in told)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.integers(5, 900), min_size=1, max_size=6).map(tuple), min_size=1, max_size=8))
def test_whatever_is_added_comes_back(
    tmp_path_factory: pytest.TempPathFactory, passages: list[tuple[int, ...]]
) -> None:
    folder = tmp_path_factory.mktemp("cache")
    about = About(model="m", k=1, width=3, precision="float32")
    cache = PassageCache.make(folder, about)
    states = [torch.tensor(p, dtype=torch.float)[:, None].expand(-1, 3) for p in passages]
    for start in range(0, len(passages), 3):
        cache.add([key_of(p) for p in passages[start : start + 3]], states[start : start + 3])
    again = PassageCache.open(folder, about)
    assert len(again) == len(set(passages))
    found, mask = again.states([key_of(p) for p in passages])
    for row, passage in enumerate(passages):
        assert found[row, mask[row].bool(), 0].tolist() == list(passage)


def test_a_key_follows_the_tokens() -> None:
    assert key_of((1, 23)) == key_of([1, 23]) != key_of((12, 3))
    assert json.loads(About(model="m", k=1, width=3, precision="float32").model_dump_json())["schema_version"] == 1
