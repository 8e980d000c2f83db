#!/usr/bin/env python3
"""Thirty steps of distillation on given answers: TRL's GKDTrainer against tenet distill, float32, same weights and rows.

Development only:
  python tools/compare_trl_gkd.py --tenet build/tenet --tokenizer DIR --rows prefs.jsonl[.gz]
Prints, per beta, the largest relative difference of loss and gradient norm over all steps.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import compare_trl as base


def run_trl(folder, teacher, rows, out, beta, a):
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    class Keep(TrainerCallback):
        def __init__(self):
            self.h = []

        def on_log(self, args, state, control, logs=None, **k):
            self.h.append(dict(logs))

    keep = Keep()
    args = GKDConfig(output_dir=out, max_steps=a.steps, use_cpu=True, bf16=False, report_to=[], save_strategy="no", logging_steps=1,
                     learning_rate=a.lr, gradient_checkpointing=False, disable_tqdm=True, seed=0, max_length=a.max_length,
                     per_device_train_batch_size=a.batch, gradient_accumulation_steps=a.accumulation, warmup_steps=5,
                     lr_scheduler_type="linear", train_sampling_strategy="sequential", lmbda=0.0, beta=beta)
    ds = Dataset.from_list([{"messages": r} for r in rows])
    tr = GKDTrainer(model=AutoModelForCausalLM.from_pretrained(folder), teacher_model=AutoModelForCausalLM.from_pretrained(teacher),
                    args=args, train_dataset=ds, processing_class=AutoTokenizer.from_pretrained(folder), callbacks=[keep])
    tr.train()
    return [h for h in keep.h if "loss" in h]


def run_tenet(folder, teacher, rows, out, beta, a):
    os.makedirs(out, exist_ok=True)
    with open(out + "/rows.jsonl", "w") as f:
        for r in rows:
            f.write(json.dumps({"prompt": r[:-1], "completion": r[-1:]}) + "\n")
    cmd = [a.tenet, "distill", "--model", folder, "--teacher-model", teacher, "--data", out + "/rows.jsonl", "--output-dir", out + "/run",
           "--dtype", "float32", "--max-steps", str(a.steps), "--learning-rate", str(a.lr), "--warmup-steps", "5",
           "--max-length", str(a.max_length), "--per-device-train-batch-size", str(a.batch), "--gradient-accumulation-steps",
           str(a.accumulation), "--train-sampling-strategy", "sequential", "--logging-steps", "1", "--save-steps", "0",
           "--lmbda", "0", "--beta", str(beta)]
    subprocess.run(cmd, check=True, stderr=subprocess.DEVNULL)
    return json.load(open(out + "/run/trainer_state.json"))["log_history"]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--tenet", default="build/tenet")
    p.add_argument("--tokenizer", required=True)
    p.add_argument("--rows", required=True)
    p.add_argument("--beta", type=float, nargs="*", default=[0.0, 0.5, 1.0])
    p.add_argument("--steps", type=int, default=30)
    p.add_argument("--batch", type=int, default=4)
    p.add_argument("--accumulation", type=int, default=1)
    p.add_argument("--max-length", type=int, default=256)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--verbose", action="store_true")
    a = p.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory() as work:
        student, teacher = work + "/student", work + "/teacher"
        base.make_model(student, a.tokenizer, "sft", 7)
        base.make_model(teacher, a.tokenizer, "sft", 8)
        n = a.steps * a.batch * a.accumulation // 2
        rows = [r["prompt"] + r["chosen"] for r in base.read_rows(a.rows, 4 * n) if len(json.dumps(r)) < 3 * a.max_length][:n]
        for beta in a.beta:
            t = run_trl(student, teacher, rows, f"{work}/trl-{beta}", beta, a)
            m = run_tenet(student, teacher, rows, f"{work}/tenet-{beta}", beta, a)
            worst = {k: max(abs(x[k] - y[k]) / max(abs(x[k]), 1e-12) for x, y in zip(t, m)) for k in ("loss", "grad_norm")}
            if a.verbose:
                for x, y in zip(t, m):
                    print({k: (x.get(k), y.get(k)) for k in ("loss", "grad_norm", "learning_rate")})
            ok = len(t) == len(m) and worst["loss"] <= 1e-4 and worst["grad_norm"] <= 1e-3
            bad += not ok
            print(f"beta {beta}: {len(t)} and {len(m)} steps, largest relative differences", {k: float(f"{v:.2g}") for k, v in worst.items()},
                  "ok" if ok else "DIFFERS", flush=True)
    sys.exit(bad)


if __name__ == "__main__":
    main()
