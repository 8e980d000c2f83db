#!/usr/bin/env python3
"""Thirty steps of SFT, reward modelling and preference losses: TRL 1.16 against tenet, float32, same weights and rows.

Development only. Needs a virtual environment with torch, transformers and trl:
  python tools/compare_trl.py --tenet build/tenet --tokenizer DIR --rows prefs.jsonl[.gz] [--kind NAME ...]
Kinds: the names in METHODS below. TRL's ORPO and CPO trainers prepare rows in their own way (beginning and end of sequence
added; where the prompt fills --max-length a response is left empty and the loss is not a number); the ids that they made
of rows that fit are what tenet gets.
With --peft both sides train an adapter of peft, random A and B, on a frozen base (needs peft).
--model DIR takes that model and its tokenizer instead of a random one; --dump DIR writes TRL's side for tests/e2e/trl.sh:
  python tools/compare_trl.py --model models/world --rows pairs.jsonl --lr 3e-4 --dump tests/golden/trl_runs --kind ...
Prints, per kind, the largest relative difference of loss and gradient norm over all steps.
"""
import argparse, gzip, importlib, json, math, os, re, shutil, subprocess, sys, tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

# kind: (TRL's module, trainer and config, its options, tenet's verb and options)
METHODS = {
    "sft": ("trl", "SFT", {}, ["sft"]),
    "reward": ("trl", "Reward", {}, ["reward"]),
    "dpo": ("trl", "DPO", {}, ["dpo"]),
    "dpo-ipo": ("trl", "DPO", {"loss_type": ["ipo"]}, ["dpo", "--loss-type", "ipo"]),
    "dpo-hinge": ("trl", "DPO", {"loss_type": ["hinge"]}, ["dpo", "--loss-type", "hinge"]),
    "dpo-robust": ("trl", "DPO", {"loss_type": ["robust"], "label_smoothing": 0.1},
                   ["dpo", "--loss-type", "robust", "--label-smoothing", "0.1"]),
    "dpo-mpo": ("trl", "DPO", {"loss_type": ["sigmoid", "bco_pair", "sft"], "loss_weights": [0.8, 0.2, 1.0]},
                ["dpo", "--loss-type", "sigmoid", "bco_pair", "sft", "--loss-weights", "0.8", "0.2", "1"]),
    "dpo-aot": ("trl", "DPO", {"loss_type": ["aot"]}, ["dpo", "--loss-type", "aot"]),
    "dpo-aot-unpaired": ("trl", "DPO", {"loss_type": ["aot_unpaired"]}, ["dpo", "--loss-type", "aot_unpaired"]),
    "dpo-wpo": ("trl", "DPO", {"use_weighting": True}, ["dpo", "--use-weighting"]),
    "tr-dpo": ("trl", "DPO", {"sync_ref_model": True, "ref_model_sync_steps": 4},
               ["dpo", "--sync-ref-model", "--ref-model-sync-steps", "4"]),
    "kto": ("trl", "KTO", {"desirable_weight": 1.3}, ["kto", "--desirable-weight", "1.3"]),
    "kto-pairs": ("trl", "KTO", {}, ["kto"]),
    "kto-apo": ("trl", "KTO", {"loss_type": "apo_zero_unpaired"}, ["kto", "--loss-type", "apo_zero_unpaired"]),
    "orpo": ("trl.experimental.orpo", "ORPO", {}, ["orpo"]),
    "cpo": ("trl.experimental.cpo", "CPO", {}, ["cpo"]),
    "simpo": ("trl.experimental.cpo", "CPO", {"loss_type": "simpo", "cpo_alpha": 0.0, "beta": 2.0, "simpo_gamma": 1.0}, ["simpo"]),
    "tpo": ("trl.experimental.tpo", "TPO", {"beta": 0.2, "tpo_alpha": 0.7}, ["tpo", "--beta", "0.2", "--tpo-alpha", "0.7"]),
    "tpo-l": ("trl.experimental.tpo", "TPO", {"loss_type": "tpo-l", "beta": 2.0, "tpo_l_gamma": 0.8},
              ["tpo", "--loss-type", "tpo-l", "--beta", "2", "--tpo-l-gamma", "0.8"]),
    "alphapo": ("trl.experimental.cpo", "CPO",
                {"loss_type": "simpo", "cpo_alpha": 0.0, "beta": 2.0, "simpo_gamma": 1.0, "alpha": 0.1}, ["simpo", "--alpha", "0.1"]),
}


def read_rows(path, n, most=None):
    """The first n conversations, of at most `most` characters each."""
    opener = gzip.open if path.endswith(".gz") else open
    def turns(s):
        p = re.split(r"\n\n(Human|Assistant): ?", s)[1:]
        return [{"role": "user" if p[i] == "Human" else "assistant", "content": p[i + 1]} for i in range(0, len(p), 2)]
    out = []
    for line in opener(path, "rt"):
        r = json.loads(line)
        if "prompt" in r:
            out.append({k: r[k] for k in ("prompt", "chosen", "rejected")})
            if len(out) == n:
                break
            continue
        c, j = turns(r["chosen"]), turns(r["rejected"])
        if len(c) == len(j) and c[:-1] == j[:-1] and c[-1]["role"] == "assistant" and c != j:
            if not most or max(sum(len(t["content"]) for t in x) for x in (c, j)) <= most:
                out.append({"prompt": c[:-1], "chosen": c[-1:], "rejected": j[-1:]})
        if len(out) == n:
            break
    return out


def make_model(folder, tokenizer, kind, seed):
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification
    torch.manual_seed(seed)
    tok = AutoTokenizer.from_pretrained(tokenizer)
    cfg = LlamaConfig(vocab_size=len(tok), hidden_size=48, intermediate_size=112, num_hidden_layers=2, num_attention_heads=4,
                      num_key_value_heads=2, max_position_embeddings=2048, tie_word_embeddings=True, initializer_range=0.05,
                      bos_token_id=tok.bos_token_id, eos_token_id=tok.eos_token_id, pad_token_id=tok.pad_token_id)
    if kind == "reward":
        cfg.num_labels = 1
        m = LlamaForSequenceClassification(cfg)
    else:
        m = LlamaForCausalLM(cfg)
    m.save_pretrained(folder)
    tok.save_pretrained(folder)
    return len(tok)


def make_adapter(folder, kind, seed):
    """A random adapter of peft on the model in `folder`; returns its own folder."""
    import transformers as tf
    from adapter_zoo import adapt
    load = tf.AutoModelForSequenceClassification if kind == "reward" else tf.AutoModelForCausalLM
    more = dict(r=8, lora_alpha=16, target_modules="all-linear", lora_dropout=0.0)
    adapt(load.from_pretrained(folder, dtype="float32"), seed, score=kind == "reward", **more).save_pretrained(folder + "-lora")
    return folder + "-lora"


def trl_model(kind, folder, adapter):
    """What TRL's trainers take: a folder, or a PeftModel with its tokenizer."""
    if not adapter:
        return dict(model=folder)
    import transformers as tf
    from peft import PeftModel
    load = tf.AutoModelForSequenceClassification if kind == "reward" else tf.AutoModelForCausalLM
    model = PeftModel.from_pretrained(load.from_pretrained(folder, dtype="float32"), adapter, is_trainable=True)
    return dict(model=model, processing_class=tf.AutoTokenizer.from_pretrained(folder))


def run_trl(kind, folder, adapter, rows, out, a):
    from datasets import Dataset
    from transformers import TrainerCallback
    common = dict(output_dir=out, max_steps=a.steps, use_cpu=True, bf16=False, report_to=[], save_strategy="no", logging_steps=1,
                  learning_rate=a.lr, gradient_checkpointing=False, disable_tqdm=True, seed=0, max_length=a.max_length,
                  per_device_train_batch_size=a.batch, gradient_accumulation_steps=a.accumulation, warmup_steps=5,
                  lr_scheduler_type="linear", train_sampling_strategy="sequential")
    class Keep(TrainerCallback):
        def __init__(s): s.h = []
        def on_log(s, args, state, control, logs=None, **k): s.h.append(dict(logs))
    keep = Keep()
    module, name, options, _ = METHODS[kind]
    trl = importlib.import_module(module)
    given = trl_model(kind, folder, adapter)
    if name in ("CPO", "ORPO") and not adapter:  # these take no folder
        import transformers as tf
        given = dict(model=tf.AutoModelForCausalLM.from_pretrained(folder, dtype="float32"),
                     processing_class=tf.AutoTokenizer.from_pretrained(folder))
    tr = getattr(trl, name + "Trainer")(**given, args=getattr(trl, name + "Config")(**{**common, **options}),
                                        train_dataset=Dataset.from_list(rows_of(kind, rows)), callbacks=[keep])
    tr.train()
    return [h for h in keep.h if "loss" in h], tr.train_dataset


def rows_of(kind, rows):
    if kind == "sft":
        return [{"prompt": r["prompt"], "completion": r["chosen"]} for r in rows]
    if kind in ("kto", "kto-apo"):
        return [{"prompt": r["prompt"], "completion": r["chosen" if i % 3 else "rejected"], "label": bool(i % 3)} for i, r in enumerate(rows)]
    if kind in ("tpo", "tpo-l"):  # another row's answer for the gold one
        return [{**r, "reference": rows[(i + 1) % len(rows)]["chosen"]} for i, r in enumerate(rows)]
    return rows


def prepared(dataset):
    """Rows of ids out of what TRL's ORPO and CPO trainers made."""
    for r in dataset:
        row = {}
        for side in ("chosen", "rejected"):
            n = r[side + "_labels"].count(-100)
            row["prompt_ids"], row[side + "_ids"] = r[side + "_input_ids"][:n], r[side + "_input_ids"][n:]
        assert r["chosen_input_ids"][:n] == row["prompt_ids"]
        yield row


def run_tenet(kind, folder, rows, out, a):
    data = os.path.join(out, "rows.jsonl")
    os.makedirs(out, exist_ok=True)
    with open(data, "w") as f:
        for r in rows:
            f.write(json.dumps(r) + "\n")
    verb, *options = METHODS[kind][3]
    cmd = [a.tenet, verb, *options, "--model", folder, "--data", data, "--output-dir", out + "/run", "--overwrite", "--dtype", "float32",
           "--max-steps", str(a.steps), "--learning-rate", str(a.lr), "--warmup-steps", "5", "--max-length", str(a.max_length),
           "--per-device-train-batch-size", str(a.batch), "--gradient-accumulation-steps", str(a.accumulation),
           "--train-sampling-strategy", "sequential", "--logging-steps", "1", "--save-steps", "0"]
    subprocess.run(cmd, check=True, stderr=subprocess.DEVNULL)
    return json.load(open(out + "/run/trainer_state.json"))["log_history"]


def dump(a, kind, rows, history):
    """DIR/KIND.txt: how tenet is called, the file of rows, and a line of loss and gradient norm for every step."""
    os.makedirs(a.dump, exist_ok=True)
    name = {"CPO": "ids", "ORPO": "ids", "KTO": "labelled", "TPO": "triples"}.get(METHODS[kind][1], "pairs") if kind != "kto-pairs" else "pairs"
    with open(os.path.join(a.dump, name + ".jsonl"), "w") as f:
        f.writelines(json.dumps(r) + "\n" for r in rows)
    with open(os.path.join(a.dump, kind + ".txt"), "w") as f:
        f.write(" ".join(METHODS[kind][3]) + f"\n{name}.jsonl\n")
        f.writelines(f"{h['loss']!r} {h['grad_norm']!r}\n" for h in history)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--tenet", default="build/tenet")
    p.add_argument("--tokenizer", help="of the random model")
    p.add_argument("--model")
    p.add_argument("--dump")
    p.add_argument("--rows", required=True)
    p.add_argument("--kind", nargs="*", default=list(METHODS), choices=list(METHODS))
    p.add_argument("--steps", type=int, default=30)
    p.add_argument("--batch", type=int, default=4)
    p.add_argument("--accumulation", type=int, default=1)
    p.add_argument("--max-length", type=int, default=256)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--peft", action="store_true")
    p.add_argument("--verbose", action="store_true")
    a = p.parse_args()
    work = tempfile.mkdtemp()
    bad = 0
    for kind in a.kind:
        folder = os.path.join(work, kind)
        if a.model:
            shutil.copytree(a.model, folder)
        else:
            make_model(folder, a.tokenizer, kind, 7)
        adapter = make_adapter(folder, kind, 7) if a.peft else None
        own = METHODS[kind][1] in ("CPO", "ORPO")
        rows = read_rows(a.rows, a.steps * a.batch * a.accumulation // 2, 2 * a.max_length if own else None)
        t, made = run_trl(kind, folder, adapter, rows, os.path.join(work, kind + "-trl"), a)
        ours = list(prepared(made)) if own else rows_of(kind, rows)
        if a.dump:
            dump(a, kind, ours, t)
        n = run_tenet(kind, adapter or folder, ours, os.path.join(work, kind + "-tenet"), a)
        names = sorted(set().union(*t) & set().union(*n))
        worst = {k: 0.0 for k in names}
        for x, y in zip(t, n):
            for k in set(x) & set(y):
                d = abs(x[k] - y[k]) / max(abs(x[k]), 1e-12)
                worst[k] = max(worst[k], d) if d == d else math.inf
            if a.verbose:
                print(kind, {k: (x[k], y[k]) for k in ("loss", "grad_norm", "learning_rate", "num_tokens")})
        print(f"{kind}: {len(t)} and {len(n)} steps; missing here: {sorted(set().union(*t) - set().union(*n))}")
        print("   largest relative difference:", {k: float(f"{v:.2g}") for k, v in worst.items()})
        ok = len(t) == len(n) and worst["loss"] <= 1e-4 and worst["grad_norm"] <= 1e-3
        bad += not ok
        print("   ", "ok" if ok else "DIFFERS", flush=True)
    shutil.rmtree(work)
    sys.exit(bad)


if __name__ == "__main__":
    main()
