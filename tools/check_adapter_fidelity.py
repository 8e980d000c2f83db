"""Compares adapters with peft on random checkpoints (development): the files of either side, logits, gradients.

    python tools/check_adapter_fidelity.py build/tenet [--count N] [--seed S] [--backend cpu|ref]

A base of random shape and family (as tools/check_model_fidelity.py draws them) gets a random adapter of peft:
rank, alpha, rsLoRA, target modules, a score head. Then tenet trains one of its own for three steps, and peft
loads that. Bounds: each logit within 2e-5 of its row's spread, each gradient within 5e-5 of its norm.
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
from peft import PeftModel
from safetensors.torch import load_file

from adapter_zoo import MODULES, adapt, saved_name
from check_model_fidelity import compare, draw, spread_error
from model_zoo import SCORE, forward_backward, make


def tenet(args, *command):
    p = subprocess.run([args.tenet, *command], capture_output=True, text=True)
    if p.returncode:
        raise RuntimeError("refused: " + p.stderr.strip().splitlines()[-1])
    return p.stdout


def score_logits(args, where, adapter, grads):
    more = ["--grads", where + "/g.safetensors"] if grads else []
    tenet(args, "score", "--model", adapter, "--input", where + "/rows.jsonl", "--out", where + "/out.jsonl", "--dtype", "float32",
          "--backend", args.backend, "--logits", where + "/z.safetensors", *more)
    return load_file(where + "/z.safetensors"), load_file(where + "/g.safetensors") if grads else {}


def of_peft(args, rng, base, model, rows, where):
    """An adapter of peft, read here."""
    chosen = "all-linear" if rng.random() < 0.3 else rng.sample(MODULES, rng.randrange(1, 8))
    config = dict(r=rng.choice([1, 2, 4, 7]), lora_alpha=rng.choice([1, 4, 5, 16]), use_rslora=rng.random() < 0.5,
                  target_modules=chosen)
    model = adapt(model, rng.randrange(1 << 30), **config)
    model.peft_config["default"].base_model_name_or_path = base
    model.save_pretrained(where + "/adapter")
    logits, grads = score_logits(args, where, where + "/adapter", True)
    out = forward_backward(model, rows)
    z, g, name, missing = compare(logits, grads, (out[0], out[1], {saved_name(n): x for n, x in out[2].items()}))
    good = z <= 2e-5 and g <= 5e-5 and not missing
    verdict = "peft's: logits %.1e grads %.1e" % (z, g)
    if not good:
        wide = forward_backward(model.double(), rows)
        wide = (wide[0], wide[1], {saved_name(n): x for n, x in wide[2].items()})
        z2, g2, name, _ = compare(logits, grads, wide)
        z3, g3, _, _ = compare({"row.%d" % i: x for i, x in enumerate(out[0])}, {saved_name(n): x for n, x in out[2].items()}, wide)
        verdict += " (to double: %.1e %.1e %s %s; peft to its double: %.1e %.1e; %s)" % (z2, g2, name, missing, z3, g3, config)
    return good, verdict


def of_tenet(args, rng, base, model, rows, where):
    """An adapter trained here, read by peft."""
    tenet(args, "sft", "--model", base, "--data", where + "/train.jsonl", "--use-peft", "--lora-r", str(rng.choice([1, 3, 8])),
          "--lora-alpha", str(rng.choice([2, 5, 2.5])), *rng.choice([[], ["--use-rslora"]]), "--lora-target-modules",
          *rng.choice([["all-linear"], rng.sample(MODULES, 3)]), "--max-steps", "3", "--learning-rate", "0.05", "--dtype",
          "float32", "--output-dir", where + "/ours", "--overwrite", "--save-steps", "0", "--max-length", "0")
    logits, _ = score_logits(args, where, where + "/ours", False)
    model = PeftModel.from_pretrained(model, where + "/ours").eval()
    want = forward_backward(model, rows, grads=False)[0]
    z = max(spread_error(logits["row.%d" % i], w) for i, w in enumerate(want))
    return z <= 2e-5, "ours: logits %.1e" % z


def scores(args, rng, spec, base, rows, where):
    """A reward model's adapter of peft on a language model."""
    kind = SCORE[spec["family"]]
    model = kind.from_pretrained(base, num_labels=1, pad_token_id=0, dtype=torch.float32, attn_implementation="eager")
    model = adapt(model, rng.randrange(1 << 30), score=True, r=rng.choice([2, 5]), lora_alpha=6,
                  target_modules=rng.choice(["all-linear", rng.sample(MODULES, 2)]))
    model.peft_config["default"].base_model_name_or_path = base
    model.save_pretrained(where + "/adapter-score")
    out = tenet(args, "score", "--model", where + "/adapter-score", "--input", where + "/rows.jsonl", "--dtype", "float32",
                "--backend", args.backend)
    got = torch.tensor([json.loads(line)["score"] for line in out.splitlines()], dtype=torch.float64)
    with torch.no_grad():
        want = torch.cat([model(input_ids=torch.tensor([r]), use_cache=False).logits[0] for r in rows]).double()
    error = float((got - want).abs().max() / want.abs().max())
    return error <= 2e-5, "scores %.1e" % error


def one(args, rng, where):
    spec = draw(rng)
    spec["pad_token_id"] = None
    base = where + "/base"
    shutil.rmtree(where, ignore_errors=True)
    make(spec, rng.randrange(1 << 30)).save_pretrained(base)
    longest = spec["max_position_embeddings"] if spec["rope_parameters"]["rope_type"] == "dynamic" else 200
    rows = [[rng.randrange(1, spec["vocab_size"]) for _ in range(min(longest, n))] for n in rng.sample([2, 5, 31, 32, 33, 64, 97], 4)]
    with open(where + "/rows.jsonl", "w") as f:
        f.writelines(json.dumps({"ids": r}) + "\n" for r in rows)
    with open(where + "/train.jsonl", "w") as f:
        f.writelines(json.dumps({"input_ids": r}) + "\n" for r in rows)
    load = lambda: type(make(spec)).from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
    results = [of_peft(args, rng, base, load(), rows, where), of_tenet(args, rng, base, load(), rows, where),
               scores(args, rng, spec, base, rows, where)]
    return spec, all(r[0] for r in results), "; ".join(r[1] for r in results)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("tenet")
    ap.add_argument("--count", type=int, default=20)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--backend", default="cpu")
    args = ap.parse_args()
    torch.set_num_threads(1)
    bad = 0
    with tempfile.TemporaryDirectory() as tmp:
        for i in range(args.count):
            rng = random.Random(args.seed * 100003 + i)
            try:
                spec, good, verdict = one(args, rng, os.path.join(tmp, "model-%d" % i))
            except RuntimeError as e:
                spec, good, verdict = {"family": "?"}, False, str(e)
            bad += not good
            print(i, spec["family"], "ok" if good else "DIFFERS", verdict, "" if good else spec, flush=True)
            shutil.rmtree(os.path.join(tmp, "model-%d" % i), ignore_errors=True)
    print("%d of %d differ" % (bad, args.count))
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
