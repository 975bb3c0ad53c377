"""vLLM's pool of cache blocks, by hand-made layers."""

from llmservice_operator.gpu_memory.cache import Attention, Latent, State
from llmservice_operator.gpu_memory.model import Layer
from llmservice_operator.gpu_memory.pool import Numbers, Steps, pool

NUMBERS, STEPS = Numbers(2), Steps(in_flight=1000)
FULL, WINDOW, CHUNK = Attention(2, 64), Attention(2, 64, window=512), Attention(2, 64, chunk=2048)


def _layers(*caches):
    return [Layer((), (cache,)) for cache in caches]


def test_layers_of_one_kind_share_one_group():
    found = pool(_layers(FULL, FULL, FULL), 16, NUMBERS, STEPS)
    assert len(found.groups) == 1
    assert found.block_bytes(range(3)) == 3 * 16 * 128 * 2
    assert found.request_blocks(33) == 3


def test_a_window_holds_itself_and_what_is_in_flight_and_one_block_more():
    found = pool(_layers(WINDOW, WINDOW), 16, NUMBERS, STEPS)
    assert found.request_blocks(100_000) == -(-(512 - 1 + 1000) // 16) + 1
    assert found.request_blocks(32) == 2 + 1


def test_a_chunk_holds_itself_and_what_is_in_flight():
    assert pool(_layers(CHUNK), 16, NUMBERS, STEPS).request_blocks(100_000) == -(-(2048 + 1000) // 16)


def test_several_kinds_are_put_into_groups_of_the_rarest_kind_s_size():
    found = pool(_layers(*[WINDOW] * 5, FULL, *[WINDOW] * 5, FULL), 16, NUMBERS, STEPS)
    assert [len(group.layers) for group in found.groups] == [2, 2, 2, 2, 2, 2]
    assert found.block_bytes(range(12)) == 2 * 16 * 128 * 2


def test_kinds_that_are_about_equally_frequent_are_put_into_one_group_each():
    found = pool(_layers(*[WINDOW] * 12, *[FULL] * 13), 16, NUMBERS, STEPS)
    assert [len(group.layers) for group in found.groups] == [12, 13]
    assert found.block_bytes(range(25)) == 13 * 16 * 128 * 2


def test_a_block_is_made_so_long_that_a_state_fits_into_attention_s_page():
    state = State(small=10_000, wide=1000)
    found = pool(_layers(state, state, state, FULL), 16, NUMBERS, STEPS)
    page = found.groups[-1].page
    assert page.block % 16 == 0
    assert page.block * 256 >= 24_000 > (page.block - 16) * 256
    assert {group.page.bytes for group in found.groups} == {page.bytes}
    assert found.request_blocks(page.block) == 1 + 3 * 2


def test_without_kept_beginnings_a_request_has_one_state():
    state = State(small=1000)
    kept = pool(_layers(state, FULL), 16, Numbers(2), STEPS).request_blocks(1)
    assert pool(_layers(state, FULL), 16, Numbers(2, prefixes=False), STEPS).request_blocks(1) == kept - 1
    assert pool(_layers(state, state), 16, Numbers(2), STEPS).request_blocks(1) == 1


def test_a_latent_vector_counts_once_and_eight_bits_halve_it():
    layers = _layers(Latent(576), Latent(576))
    assert pool(layers, 64, Numbers(2), STEPS).block_bytes(range(2)) == 2 * 64 * 576 * 2
    assert pool(layers, 64, Numbers(1), STEPS).block_bytes(range(2)) == 2 * 64 * 576


def test_a_stage_has_the_bytes_of_its_own_layers():
    found = pool(_layers(FULL, FULL, FULL), 16, NUMBERS, STEPS)
    assert found.block_bytes(range(1)) * 3 == found.block_bytes(range(3))


def test_the_longest_request_leaves_one_block_to_vllm():
    found = pool(_layers(FULL), 16, NUMBERS, STEPS)
    assert found.longest(blocks=10, most=1 << 20) == 9 * 16
    assert found.longest(blocks=10, most=100) == 100
    assert found.longest(blocks=0, most=100) == 0


def test_a_model_without_a_cache_needs_no_block():
    found = pool([Layer(()), Layer(())], 16, NUMBERS, STEPS)
    assert found.block_bytes(range(2)) == 0
    assert found.request_blocks(1000) == 0
