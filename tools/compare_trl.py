#!/usr/bin/env python3
"""Thirty steps of SFT, reward modelling and DPO: TRL 1.16 against tenet, float32, same weights and rows.

Development only. Needs a virtual environment with torch, transformers and trl:
  python tools/compare_trl.py --tenet build/tenet --tokenizer DIR --rows prefs.jsonl[.gz] [--kind sft dpo reward]
With --peft both sides train an adapter of peft, random A and B, on a frozen base (needs peft).
Prints, per kind, the largest relative difference of loss and gradient norm over all steps.
"""
import argparse, gzip, json, os, re, shutil, subprocess, sys, tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"


def read_rows(path, n):
    opener = gzip.open if path.endswith(".gz") else open
    def turns(s):
        p = re.split(r"\n\n(Human|Assistant): ?", s)[1:]
        return [{"role": "user" if p[i] == "Human" else "assistant", "content": p[i + 1]} for i in range(0, len(p), 2)]
    out = []
    for line in opener(path, "rt"):
        r = json.loads(line)
        c, j = turns(r["chosen"]), turns(r["rejected"])
        if len(c) == len(j) and c[:-1] == j[:-1] and c[-1]["role"] == "assistant" and c != j:
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
    adapt(load.from_pretrained(folder), seed, score=kind == "reward", **more).save_pretrained(folder + "-lora")
    return folder + "-lora"


def trl_model(kind, folder, adapter):
    """What TRL's trainers take: a folder, or a PeftModel with its tokenizer."""
    if not adapter:
        return dict(model=folder)
    import transformers as tf
    from peft import PeftModel
    load = tf.AutoModelForSequenceClassification if kind == "reward" else tf.AutoModelForCausalLM
    model = PeftModel.from_pretrained(load.from_pretrained(folder), adapter, is_trainable=True)
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
    if kind == "sft":
        from trl import SFTConfig, SFTTrainer
        ds = Dataset.from_list([{"prompt": r["prompt"], "completion": r["chosen"]} for r in rows])
        tr = SFTTrainer(**trl_model(kind, folder, adapter), args=SFTConfig(**common), train_dataset=ds, callbacks=[keep])
    elif kind == "dpo":
        from trl import DPOConfig, DPOTrainer
        tr = DPOTrainer(**trl_model(kind, folder, adapter), args=DPOConfig(**common), train_dataset=Dataset.from_list(rows), callbacks=[keep])
    else:
        from trl import RewardConfig, RewardTrainer
        tr = RewardTrainer(**trl_model(kind, folder, adapter), args=RewardConfig(**common), train_dataset=Dataset.from_list(rows), callbacks=[keep])
    tr.train()
    return [h for h in keep.h if "loss" in h]


def run_tenet(kind, folder, rows, out, a):
    data = os.path.join(out, "rows.jsonl")
    os.makedirs(out, exist_ok=True)
    with open(data, "w") as f:
        for r in rows:
            f.write(json.dumps({"prompt": r["prompt"], "completion": r["chosen"]} if kind == "sft" else r) + "\n")
    cmd = [a.tenet, kind, "--model", folder, "--data", data, "--output-dir", out + "/run", "--overwrite", "--dtype", "float32",
           "--max-steps", str(a.steps), "--learning-rate", str(a.lr), "--warmup-steps", "5", "--max-length", str(a.max_length),
           "--per-device-train-batch-size", str(a.batch), "--gradient-accumulation-steps", str(a.accumulation),
           "--train-sampling-strategy", "sequential", "--logging-steps", "1", "--save-steps", "0"]
    subprocess.run(cmd, check=True, stderr=subprocess.DEVNULL)
    return json.load(open(out + "/run/trainer_state.json"))["log_history"]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--tenet", default="build/tenet")
    p.add_argument("--tokenizer", required=True)
    p.add_argument("--rows", required=True)
    p.add_argument("--kind", nargs="*", default=["sft", "dpo", "reward"])
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
        make_model(folder, a.tokenizer, kind, 7)
        adapter = make_adapter(folder, kind, 7) if a.peft else None
        rows = read_rows(a.rows, a.steps * a.batch * a.accumulation // 2)
        t = run_trl(kind, folder, adapter, rows, os.path.join(work, kind + "-trl"), a)
        n = run_tenet(kind, adapter or folder, rows, os.path.join(work, kind + "-tenet"), a)
        names = sorted(set(t[0]) & set(n[0]))
        worst = {k: 0.0 for k in names}
        for x, y in zip(t, n):
            for k in names:
                worst[k] = max(worst[k], abs(x[k] - y[k]) / max(abs(x[k]), 1e-12))
            if a.verbose:
                print(kind, {k: (x[k], y[k]) for k in ("loss", "grad_norm", "learning_rate", "num_tokens")})
        print(f"{kind}: {len(t)} and {len(n)} steps; missing here: {sorted(set(t[0]) - set(n[0]))}")
        print("   largest relative difference:", {k: float(f"{v:.2g}") for k, v in worst.items()})
        ok = len(t) == len(n) and worst["loss"] <= 1e-4 and worst["grad_norm"] <= 1e-3
        bad += not ok
        print("   ", "ok" if ok else "DIFFERS", flush=True)
    shutil.rmtree(work)
    sys.exit(bad)


if __name__ == "__main__":
    main()
