"""Compares `tenet score --logits --grads --dtype float32` with transformers on random checkpoints (development).

    python tools/check_model_fidelity.py build/tenet [--count N] [--seed S] [--backend cpu|ref] [--keep DIR]

Shapes, families, RoPE types, windows, biases, shards and file types are drawn from the seed. Bounds: each logit
within 2e-5 of its row's spread, each gradient within 5e-5 of its norm, the loss within 1e-6. Where they are not
met, the distances to transformers in double precision are shown too.
"""
import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file

from model_zoo import forward_backward, make, rope


def draw(rng):
    family = rng.choice(["llama", "mistral", "qwen2", "qwen3"])
    kv = rng.choice([1, 1, 2, 3, 4])
    heads = kv * rng.choice([1, 2, 3, 4])
    head_dim = 2 * rng.choice([1, 3, 5, 7, 8, 9, 11, 13, 16, 20, 24, 32, 33])
    hidden = heads * rng.choice([head_dim, 5, 7, 11, 13, 16, 17, 25])  # transformers wants a multiple of the heads
    theta = rng.choice([1e4, 1e4, 5e5, 1e6, 12345.0])
    kind = rng.choice(["default", "default", "linear", "llama3", "yarn", "longrope", "dynamic"])
    original = rng.choice([16, 40, 64, 500])
    if kind == "dynamic" and head_dim == 2:
        kind = "default"  # transformers divides by zero
    more = {}
    if kind == "yarn":
        more = rng.choice([{}, {"beta_fast": 20.0, "beta_slow": 2.0}, {"attention_factor": 1.3}, {"truncate": False},
                           {"mscale": 0.7, "mscale_all_dim": 1.1}, {"mscale": 1.0}])
    if kind == "longrope":
        more = rng.choice([{}, {"attention_factor": 0.9}])
    if kind == "llama3":
        more = rng.choice([{}, {"factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}])
    if kind in ("linear", "yarn"):
        more["factor"] = rng.choice([1.0, 2.0, 7.5])
    spec = dict(family=family, pad_token_id=rng.choice([None, 3]), vocab_size=rng.choice([11, 97, 300, 1025, 2500]), hidden_size=hidden,
                intermediate_size=rng.choice([9, 31, 64, 100, 173, 333]), num_hidden_layers=rng.choice([1, 2, 3, 5]),
                num_attention_heads=heads, num_key_value_heads=kv, head_dim=head_dim,
                tie_word_embeddings=rng.random() < 0.5, rms_norm_eps=rng.choice([1e-5, 1e-6, 1e-3]),
                max_position_embeddings=original * 8 if kind in ("yarn", "longrope", "llama3") else 2048,
                hidden_act=rng.choice(["silu", "silu", "silu", "gelu_pytorch_tanh"]),
                rope_parameters=rope(kind, head_dim, original, theta, **more), scale=rng.choice([0.5, 1.0, 1.5]))
    if family == "llama":
        spec.update(attention_bias=rng.random() < 0.4, mlp_bias=rng.random() < 0.3)
    if family == "qwen3":
        spec.update(attention_bias=rng.random() < 0.4)
    if family == "mistral":
        spec.update(sliding_window=rng.choice([None, 2, 5, 31, 32, 33, 64, 100]))
    if family in ("qwen2", "qwen3") and rng.random() < 0.6:
        spec.update(use_sliding_window=True, sliding_window=rng.choice([3, 17, 40]),
                    max_window_layers=rng.choice([0, 1, 2]))
        if rng.random() < 0.3:
            spec["layer_types"] = [rng.choice(["full_attention", "sliding_attention"])
                                   for _ in range(spec["num_hidden_layers"])]
    return spec


def spread_error(got, want):
    spread = (want.max(1).values - want.min(1).values).clamp_min(1e-30)
    return float(((got.double() - want.double()).abs().max(1).values / spread.double()).max())


def norm_error(got, want):
    n = want.double().norm()
    d = (got.double() - want.double()).norm()
    return float(d / n) if n > 0 else float(d > 1e-12)


def hidden_error(model, rows, layer, got):
    worst = 0
    for i, r in enumerate(rows):
        with torch.no_grad():
            out = model(input_ids=torch.tensor([r]), use_cache=False, output_hidden_states=True)
        worst = max(worst, norm_error(got["row.%d" % i], out.hidden_states[layer][0]))
    return worst


def compare(logits, grads, out):
    z = max(spread_error(logits["row.%d" % i], w) for i, w in enumerate(out[0]))
    names = {n: norm_error(grads[n].reshape(w.shape), w) for n, w in out[2].items() if n in grads}
    missing = set(out[2]) ^ set(grads)
    worst = max(names, key=names.get)
    return z, names[worst], worst, missing


def one_score(args, rng, where):
    """A reward model: scores of rows in one batch."""
    spec = dict(draw(rng), score=True, pad_token_id=0)
    model = make(spec, rng.randrange(1 << 30))
    rows = [[rng.randrange(1, spec["vocab_size"]) for _ in range(n)] for n in rng.sample([1, 2, 14, 31, 32, 33, 60], 5)]
    shutil.rmtree(where, ignore_errors=True)
    model.save_pretrained(where)
    model = type(model).from_pretrained(where, dtype=torch.float32, attn_implementation="eager")
    with open(where + "/rows.jsonl", "w") as f:
        f.writelines(json.dumps({"ids": r}) + "\n" for r in rows)
    p = subprocess.run([args.tenet, "score", "--model", where, "--input", where + "/rows.jsonl", "--dtype", "float32",
                        "--backend", args.backend], capture_output=True, text=True)
    if p.returncode:
        return spec, "refused: " + p.stderr.strip()
    got = torch.tensor([json.loads(line)["score"] for line in p.stdout.splitlines()], dtype=torch.float64)
    with torch.no_grad():
        want = torch.cat([model(input_ids=torch.tensor([r]), use_cache=False).logits[0] for r in rows]).double()
    error = float((got - want).abs().max() / want.abs().max())
    return spec, "%s score %.1e" % ("ok" if error <= 1e-5 else "DIFFERS", error)


def one(args, rng, where):
    if rng.random() < 0.15:
        return one_score(args, rng, where)
    spec = draw(rng)
    model = make(spec, rng.randrange(1 << 30))
    longest = spec["max_position_embeddings"] if spec["rope_parameters"]["rope_type"] == "dynamic" else 600
    rows = [[rng.randrange(spec["vocab_size"]) for _ in range(min(longest, n))]
            for n in rng.sample([2, 5, 31, 32, 33, 64, 97, 150, rng.randrange(100, 700)], 4)]
    dtype = rng.choice([torch.float32, torch.float32, torch.bfloat16, torch.float16])
    model = model.to(dtype)
    shutil.rmtree(where, ignore_errors=True)
    model.save_pretrained(where, max_shard_size=rng.choice(["5GB", "40KB"]))
    model = type(model).from_pretrained(where, dtype=torch.float32, attn_implementation="eager")
    with open(where + "/rows.jsonl", "w") as f:
        for r in rows:
            f.write(json.dumps({"ids": r}) + "\n")
    layer = rng.randrange(spec["num_hidden_layers"] + 1)
    p = subprocess.run([args.tenet, "score", "--model", where, "--input", where + "/rows.jsonl", "--out",
                        where + "/out.jsonl", "--dtype", "float32", "--backend", args.backend, "--logits",
                        where + "/z.safetensors", "--grads", where + "/g.safetensors", "--batch-size",
                        str(rng.choice([1, 2, 64])), "--hidden", str(layer), where + "/h.safetensors"],
                       capture_output=True, text=True)
    if p.returncode:
        return spec, "refused: " + p.stderr.strip()
    logits, grads = load_file(where + "/z.safetensors"), load_file(where + "/g.safetensors")
    f32 = forward_backward(model, rows)
    z, g, name, missing = compare(logits, grads, f32)
    scored = [json.loads(line) for line in open(where + "/out.jsonl")]
    nll = -sum(r["sum"] for r in scored) / sum(len(r) - 1 for r in rows)
    loss = abs(nll - f32[1]) / abs(f32[1])
    hidden = hidden_error(model, rows, layer, load_file(where + "/h.safetensors"))
    good = z <= 2e-5 and g <= 5e-5 and loss <= 1e-6 and hidden <= 2e-5 and not missing
    verdict = "ok" if good else "DIFFERS"
    if verdict != "ok":
        f64 = forward_backward(model.double(), rows)
        z2, g2, name2, _ = compare(logits, grads, f64)
        z3 = max(spread_error(a, b) for a, b in zip(f32[0], f64[0]))
        g3 = max(norm_error(f32[2][n], f64[2][n]) for n in f64[2])
        verdict += " (to double: %.1e %.1e %s; transformers to its double: %.1e %.1e)" % (z2, g2, name2, z3, g3)
    return spec, "%s logits %.1e grads %.1e (%s) loss %.1e hidden[%d] %.1e %s" % (
        verdict, z, g, name, loss, layer, hidden, missing or "")


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("tenet")
    ap.add_argument("--count", type=int, default=20)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--backend", default="cpu")
    ap.add_argument("--keep")
    args = ap.parse_args()
    torch.set_num_threads(1)
    bad = 0
    with tempfile.TemporaryDirectory() as tmp:
        for i in range(args.count):
            rng = random.Random(args.seed * 100003 + i)
            where = os.path.join(args.keep or tmp, "model-%d" % i)
            spec, verdict = one(args, rng, where)
            good = verdict.startswith("ok")
            bad += not good
            kind = spec["rope_parameters"]["rope_type"]
            print(i, spec["family"], kind, verdict, "" if good else spec, flush=True)
            if not args.keep:
                shutil.rmtree(where, ignore_errors=True)
    print("%d of %d differ" % (bad, args.count))
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
