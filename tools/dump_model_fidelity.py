"""Writes tests/golden/model: tiny random checkpoints of each family with transformers' numbers.

    python tools/dump_model_fidelity.py tests/golden/model

Each folder holds config.json, weights, and expect.json: rows of ids, some rows of logits, the mean NLL, per
tensor the norm of its gradient and the gradient along a fixed direction (element i times sin(i)).
"""
import json
import os
import shutil
import sys

import torch

from model_zoo import forward_backward, make, rope

CASES = {
    "llama-llama3": dict(family="llama", vocab_size=53, hidden_size=20, intermediate_size=28, num_hidden_layers=2,
                         num_attention_heads=4, num_key_value_heads=2, head_dim=10, attention_bias=True, mlp_bias=True,
                         tie_word_embeddings=True, max_position_embeddings=256,
                         rope_parameters=rope("llama3", 10, original=32)),
    "llama-linear-shards": dict(family="llama", vocab_size=47, hidden_size=18, intermediate_size=30,
                                num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=3, head_dim=6,
                                tie_word_embeddings=False, rope_parameters=rope("linear", 6)),
    "mistral-window": dict(family="mistral", vocab_size=45, hidden_size=24, intermediate_size=34, num_hidden_layers=2,
                           num_attention_heads=6, num_key_value_heads=2, head_dim=6, sliding_window=11,
                           tie_word_embeddings=True, pad_token_id=3,  # its embedding gets no gradient
                           rope_parameters=rope("default", 6)),
    "qwen2-yarn-late-window": dict(family="qwen2", vocab_size=41, hidden_size=20, intermediate_size=26,
                                   num_hidden_layers=3, num_attention_heads=5, num_key_value_heads=1,
                                   use_sliding_window=True, sliding_window=9, max_window_layers=1,
                                   tie_word_embeddings=True, rope_parameters=rope("yarn", 4, original=32)),
    "qwen3-longrope": dict(family="qwen3", vocab_size=43, hidden_size=18, intermediate_size=22, num_hidden_layers=2,
                           num_attention_heads=4, num_key_value_heads=2, head_dim=14, attention_bias=True,
                           tie_word_embeddings=True, rope_parameters=rope("longrope", 14, original=40)),
    "llama-score": dict(family="llama", score=True, vocab_size=39, hidden_size=16, intermediate_size=20,
                        num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=8,
                        rope_parameters=rope("default", 8)),
}
LENGTHS = (70, 33, 5, 32)
SHOWN = (0, 1, 31, 32, 64)  # rows of logits that are kept


def digits(x):
    return [float("%.9g" % v) for v in x.tolist()]


def gradients(grads):
    norm, along = {}, {}
    for name, x in grads.items():
        x = x.double().flatten()
        norm[name] = float("%.9g" % x.norm())
        along[name] = float("%.9g" % (x * torch.sin(torch.arange(len(x), dtype=torch.float64))).sum())
    return dict(grad_norm=norm, grad_along=along)


def expect(model, spec, seed):
    g = torch.Generator().manual_seed(seed)
    rows = [torch.randint(1, spec["vocab_size"], (n,), generator=g).tolist() for n in LENGTHS]
    if spec.get("score"):
        with torch.no_grad():
            score = [float(model(input_ids=torch.tensor([r]), use_cache=False).logits[0, 0]) for r in rows]
        return dict(rows=rows, score=[float("%.9g" % s) for s in score])
    logits, loss, grads = forward_backward(model, rows)
    kept = [{str(t): digits(z[t]) for t in SHOWN if t < len(z)} for z in logits]
    return dict(rows=rows, logits=kept, nll=float("%.9g" % loss), **gradients(grads))


def main(out):
    for seed, (name, spec) in enumerate(CASES.items()):
        where = os.path.join(out, name)
        shutil.rmtree(where, ignore_errors=True)
        model = make(spec, seed)
        model.save_pretrained(where, max_shard_size="8KB" if "shards" in name else "5GB")
        stray = os.path.join(where, "generation_config.json")
        if os.path.exists(stray):
            os.remove(stray)
        for f in os.listdir(where):
            os.chmod(os.path.join(where, f), 0o644)
        with open(os.path.join(where, "expect.json"), "w") as f:
            json.dump(expect(model, spec, seed), f)


if __name__ == "__main__":
    main(sys.argv[1])
