#!/usr/bin/env python3
"""Goldens of GGUF import: tests/golden/gguf.json (blocks of every format with gguf-py's floats) and
tests/golden/tiny.gguf (also deflated in tiny.whl) with tests/golden/tiny_gguf.json: what transformers
makes of it; {qwen2,qwen3}.gguf likewise.

Needs numpy, gguf, torch and transformers. Run from the source root."""
import json
import pathlib
import zipfile

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Q
from transformers import AutoModelForCausalLM, logging

logging.set_verbosity_error()
OUT = pathlib.Path("tests/golden")
rng = np.random.default_rng(7)


def half(lo, hi):
    return np.array([rng.uniform(lo, hi)], dtype=np.float16).view(np.uint8)


def random_block(q):
    """Bytes of one block: random codes, float16 scales that are ordinary numbers."""
    block, size = gguf.GGML_QUANT_SIZES[q]
    b = rng.integers(0, 256, size, dtype=np.uint8)
    at = {Q.Q4_0: [0], Q.Q4_1: [0, 2], Q.Q5_0: [0], Q.Q5_1: [0, 2], Q.Q8_0: [0], Q.Q2_K: [80, 82], Q.Q3_K: [108],
          Q.Q4_K: [0, 2], Q.Q5_K: [0, 2], Q.Q6_K: [208], Q.F16: [0], Q.BF16: [], Q.F32: []}[q]
    for k in at:
        b[k:k + 2] = half(-3, 3)
    if q == Q.BF16:
        b[1] = 0x3e
    if q == Q.F32:
        b[3] = 0xbe
    return b


def dump_blocks():
    cases = []
    for q in [Q.F32, Q.F16, Q.BF16, Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.Q8_0, Q.Q2_K, Q.Q3_K, Q.Q4_K, Q.Q5_K, Q.Q6_K]:
        n = 1 if gguf.GGML_QUANT_SIZES[q][0] == 256 else 3
        raw = np.concatenate([random_block(q) for _ in range(n)])
        values = gguf.dequantize(raw.reshape(1, -1), q).astype("<f4")
        cases.append(dict(id=q.name, type=int(q), blocks=raw.tobytes().hex(), floats=values.tobytes().hex()))
    write("gguf.json", cases)


def write(name, cases):
    (OUT / name).write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")


# ---------------- a tiny model ----------------

def byte_tokens():
    """GPT-2's printable stand-ins of the 256 bytes."""
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    chars, n = {b: chr(b) for b in keep}, 0
    for b in range(256):
        if b not in chars:
            chars[b] = chr(256 + n)
            n += 1
    return [chars[b] for b in range(256)]


def permute(w, heads):
    """llama.cpp's order of q and k rows (convert_hf_to_gguf.py)."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def imported(file):
    """Shapes, sums and some elements of every tensor as transformers imports the file."""
    model = AutoModelForCausalLM.from_pretrained(OUT, gguf_file=file, dtype=torch.float32)
    cases = []
    for name, p in model.state_dict().items():
        flat = p.flatten()
        pick = [int(i) for i in torch.linspace(0, flat.numel() - 1, 12)]
        cases.append(dict(name=name, shape=list(p.shape), at=pick, value=[float(flat[i]).hex() for i in pick],
                          sum=float(flat.double().sum()), moment=float((flat.double() * torch.arange(flat.numel())).sum())))
    return cases


def dump_qwen(arch):
    """Biases (qwen2) or norms of q and k (qwen3), an untied head, bfloat16 matrices, no tokenizer."""
    w = gguf.GGUFWriter(OUT / f"{arch}.gguf", arch)
    vocab, hidden, ffn, kv = 24, 20, 12, 1
    heads = 2 if arch == "qwen2" else 1
    dim = 10 if arch == "qwen2" else 128  # transformers knows no other for qwen3
    w.add_context_length(64)
    w.add_embedding_length(hidden)
    w.add_block_count(1)
    w.add_feed_forward_length(ffn)
    w.add_head_count(heads)
    w.add_head_count_kv(kv)
    w.add_layer_norm_rms_eps(1e-6)
    w.add_rope_freq_base(1000000.0)
    w.add_vocab_size(vocab)
    if arch == "qwen3":
        w.add_key_length(dim)
        w.add_value_length(dim)

    def tensor(name, *shape):
        x = rng.normal(0, 0.3, shape).astype(np.float32)
        x = (x.view(np.uint32) & np.uint32(0xffff0000)).view(np.float32)
        if len(shape) == 1:
            w.add_tensor(name, x)
        else:
            w.add_tensor(name, gguf.quantize(x, Q.BF16), raw_dtype=Q.BF16)

    tensor("token_embd.weight", vocab, hidden)
    tensor("output.weight", vocab, hidden)
    tensor("output_norm.weight", hidden)
    for name in ["attn_norm", "ffn_norm"]:
        tensor(f"blk.0.{name}.weight", hidden)
    for name, rows in [("attn_q", heads * dim), ("attn_k", kv * dim), ("attn_v", kv * dim)]:
        tensor(f"blk.0.{name}.weight", rows, hidden)
        if arch == "qwen2":
            tensor(f"blk.0.{name}.bias", rows)
    if arch == "qwen3":
        tensor("blk.0.attn_q_norm.weight", dim)
        tensor("blk.0.attn_k_norm.weight", dim)
    tensor("blk.0.attn_output.weight", hidden, heads * dim)
    tensor("blk.0.ffn_gate.weight", ffn, hidden)
    tensor("blk.0.ffn_up.weight", ffn, hidden)
    tensor("blk.0.ffn_down.weight", hidden, ffn)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    write(f"{arch}_gguf.json", imported(f"{arch}.gguf"))


def dump_tiny():
    path = OUT / "tiny.gguf"
    w = gguf.GGUFWriter(path, "llama")
    merges = ["Ġ t", "h e", "Ġt he", "i n", "Ġ a", "1 2"]
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<extra>"] + byte_tokens() + [m.replace(" ", "") for m in merges]
    hidden, ffn, layers, heads, kv, dim = 32, 64, 2, 4, 2, 8
    w.add_name("tiny")
    w.add_context_length(128)
    w.add_embedding_length(hidden)
    w.add_block_count(layers)
    w.add_feed_forward_length(ffn)
    w.add_head_count(heads)
    w.add_head_count_kv(kv)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_freq_base(5000.0)
    w.add_rope_dimension_count(dim)
    w.add_vocab_size(len(tokens))
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("smollm")
    w.add_token_list(tokens)
    w.add_token_types([3, 3, 3, 4] + [1] * (len(tokens) - 4))
    w.add_token_merges(merges)
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_pad_token_id(2)
    w.add_unk_token_id(0)
    w.add_add_bos_token(False)
    w.add_chat_template("{% for message in messages %}{{'<|im_start|>' + message['role']}}{% endfor %}")

    def tensor(name, shape, q):
        x = rng.normal(0, 0.3, shape).astype(np.float32)
        if q in (Q.F32, Q.F16):
            w.add_tensor(name, x.astype(np.float32 if q == Q.F32 else np.float16))
        else:
            w.add_tensor(name, gguf.quantize(x, q), raw_dtype=q)

    tensor("token_embd.weight", (len(tokens), hidden), Q.Q8_0)
    tensor("output_norm.weight", (hidden,), Q.F32)
    for i in range(layers):
        q = [Q.Q4_1, Q.Q5_0][i]
        tensor(f"blk.{i}.attn_norm.weight", (hidden,), Q.F32)
        tensor(f"blk.{i}.ffn_norm.weight", (hidden,), Q.F32)
        tensor(f"blk.{i}.attn_q.weight", (heads * dim, hidden), q)
        tensor(f"blk.{i}.attn_k.weight", (kv * dim, hidden), q)
        tensor(f"blk.{i}.attn_v.weight", (kv * dim, hidden), Q.F16)
        tensor(f"blk.{i}.attn_output.weight", (hidden, heads * dim), Q.Q4_0)
        tensor(f"blk.{i}.ffn_gate.weight", (ffn, hidden), Q.Q5_1)
        tensor(f"blk.{i}.ffn_up.weight", (ffn, hidden), q)
        tensor(f"blk.{i}.ffn_down.weight", (hidden, ffn), Q.Q8_0)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()

    write("tiny_gguf.json", imported("tiny.gguf"))
    with zipfile.ZipFile(OUT / "tiny.whl", "w", zipfile.ZIP_DEFLATED) as z:
        for name, data in [("tiny/__init__.py", b"x = 1\n"), ("tiny/tiny.gguf", path.read_bytes())]:
            z.writestr(zipfile.ZipInfo(name, (2025, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    dump_blocks()
    dump_tiny()
    dump_qwen("qwen2")
    dump_qwen("qwen3")
