"""Rows of test_contrib.py: Attention, MultiHeadAttention, GroupQueryAttention, RotaryEmbedding."""
import numpy as np

from contrib_rows import FLOAT, Row


def attention_rows():
    random = np.random.default_rng(3)

    def normal(*shape):
        return random.standard_normal(shape).astype(np.float32)

    yield from attention(random, normal)
    yield from multi_head(random, normal)
    yield from grouped(random, normal)
    yield from rotary(random, normal)


def masks(random, batch, queries, keys):
    """Every form of key mask; no query is left without a key."""
    raw = (random.uniform(size=(batch, keys)) < 0.7).astype(np.int32)
    raw[:, 0] = 1
    pairs = (random.uniform(size=(batch, queries, keys)) < 0.7).astype(np.int32)
    pairs[:, :, 0] = 1
    lengths = np.array([keys - 2, keys][:batch], np.int32)
    return {"lengths": lengths, "ranges": np.concatenate([lengths, np.array([1, 0][:batch], np.int32)]), "keys": raw, "pairs": pairs}


def attention(random, normal):
    batch, queries, depth, heads, head = 2, 5, 12, 3, 4
    width = heads * head
    for past in (0, 3):
        keys = past + queries
        forms = {None: None, **masks(random, batch, queries, keys)}
        for name, mask in forms.items():
            for causal in (0, 1):
                for bias in (False, True):
                    inputs = [("feed", normal(batch, queries, depth)), normal(depth, 3 * width), normal(3 * width), mask,
                              normal(2, batch, heads, past, head) if past else None, normal(1, heads, queries, keys) if bias else None]
                    yield Row("Attention", f"past={past} mask={name} causal={causal} bias={bias}", inputs, [FLOAT] * 2,
                              {"num_heads": heads, "unidirectional": causal}, [True, bool(past)])
    yield Row("Attention", "no bias, scale", [("feed", normal(2, 4, 6)), normal(6, 24), normal(24)], [FLOAT],
              {"num_heads": 2, "scale": 0.3})
    yield Row("Attention", "values of another size", [("feed", normal(2, 4, 6)), normal(6, 28), normal(28)], [FLOAT],
              {"num_heads": 2, "qkv_hidden_sizes": [8, 8, 12]})


def multi_head(random, normal):
    batch, queries, heads, head = 2, 4, 3, 4
    width = heads * head
    for fresh in (4, 6):
        for past in (0, 3):
            keys = past + fresh
            for name, mask in {None: None, **masks(random, batch, queries, keys)}.items():
                for bias, causal in ((False, 0), (True, 0), (True, 1)):
                    if causal and fresh != queries:
                        continue
                    inputs = [("feed", normal(batch, queries, width)), ("feed", normal(batch, fresh, width)),
                              ("feed", normal(batch, fresh, width)), normal(3 * width) if bias else None, mask,
                              normal(batch, 1, queries, keys) if bias else None,
                              *([normal(batch, heads, past, head), normal(batch, heads, past, head)] if past else [])]
                    yield Row("MultiHeadAttention", f"keys={fresh} past={past} mask={name} bias={bias} causal={causal}", inputs,
                              [FLOAT] * 3, {"num_heads": heads, "unidirectional": causal}, [True, bool(past), bool(past)])
    q = ("feed", normal(batch, queries, width))
    yield Row("MultiHeadAttention", "values of another size", [q, ("feed", normal(batch, 5, width)), ("feed", normal(batch, 5, 2 * width)),
                                                             normal(4 * width)], [FLOAT], {"num_heads": heads})
    yield Row("MultiHeadAttention", "keys of heads", [q, normal(batch, heads, 5, head), normal(batch, heads, 5, head), normal(3 * width)],
              [FLOAT], {"num_heads": heads})
    parts = [normal(batch, 5, heads, head) for _ in range(3)]
    flat = [("feed", part.reshape(batch, 5, width)) for part in parts]
    yield Row("MultiHeadAttention", "packed keys", [flat[0], np.stack(parts[1:], 3)], [FLOAT], {"num_heads": heads}, reference=flat)
    yield Row("MultiHeadAttention", "packed", [("feed", np.stack(parts, 3))], [FLOAT], {"num_heads": heads, "scale": 0.4}, reference=flat)


def caches(rows, pairs):
    angles = np.arange(rows)[:, None] / 100.0 ** (np.arange(pairs) / pairs)[None]
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def grouped(random, normal):
    heads, kv_heads, head = 4, 2, 16
    options = [{}, {"softcap": 5.0}, {"scale": 0.2}, {"local_window_size": 3}, {"smooth_softmax": 1}, {"do_rotary": 1},
               {"do_rotary": 1, "rotary_interleaved": 1}]
    for packed in (False, True):
        for form, queries, past, lengths in (("prompt", 5, 0, (4, 4)), ("short prompt", 5, 0, (2, 4)), ("token", 1, 6, (6, 6)),
                                             ("tokens of other lengths", 1, 6, (4, 6)), ("some tokens", 3, 4, (6,))):
            for extra in options:
                batch, total = len(lengths), max(lengths) + 1
                width = heads * head + (2 * kv_heads * head if packed else 0)
                inputs = [("feed", normal(batch, queries, width)),
                          *([None, None] if packed else [("feed", normal(batch, queries, kv_heads * head)) for _ in range(2)]),
                          *([normal(batch, kv_heads, past, head) for _ in range(2)] if past else [None, None]),
                          np.array(lengths, np.int32), np.array([total], np.int32),
                          *(caches(16, head // 2) if "do_rotary" in extra else [])]
                keep = None
                if form == "short prompt":  # rows behind a prompt's end hold nothing that is defined
                    keep = np.ones((batch, queries, heads * head), bool)
                    for b, length in enumerate(lengths):
                        keep[b, length + 1:] = False
                wanted = [True, form != "short prompt", form != "short prompt"]
                yield Row("GroupQueryAttention", f"{form} packed={packed} {extra}", inputs, [FLOAT] * 3,
                          {"num_heads": heads, "kv_num_heads": kv_heads, **extra}, wanted, mask=keep)
    yield Row("GroupQueryAttention", "head_sink", [("feed", normal(1, 3, 32)), ("feed", normal(1, 3, 16)), ("feed", normal(1, 3, 16)), None,
                                                  None, np.array([2], np.int32), np.array([3], np.int32),
                                                       None, None, None, None, normal(4)],
              [FLOAT] * 3, {"num_heads": 4, "kv_num_heads": 2}, [True, True, True])
    yield Row("GroupQueryAttention", "attention bias", [("feed", normal(1, 3, 32)), ("feed", normal(1, 3, 16)), ("feed", normal(1, 3, 16)),
                                                       None, None, np.array([2], np.int32), np.array([3], np.int32), None, None, None,
                                                       normal(1, 4, 3, 3)], [FLOAT] * 3, {"num_heads": 4, "kv_num_heads": 2}, [True] * 3)


def rotary(random, normal):
    for interleaved in (0, 1):
        for form in ("rows", "heads"):
            for positions in ("offset", "each"):
                for pairs in (4, 2):
                    shape = (2, 5, 24) if form == "rows" else (2, 3, 5, 8)
                    where = np.array([2], np.int64) if positions == "offset" else random.integers(0, 12, (2, 5)).astype(np.int64)
                    attributes = {"interleaved": interleaved}
                    if pairs == 2:
                        attributes |= {"num_heads": 3, "rotary_embedding_dim": 4}
                    yield Row("RotaryEmbedding", f"{form} interleaved={interleaved} positions={positions} pairs={pairs}",
                              [("feed", normal(*shape)), where, *caches(12, pairs)], [FLOAT], attributes)
