#!/usr/bin/env python3
"""Twenty steps of TRL's PRMTrainer on models/world in float32: tests/golden/trl_prm/{rows.jsonl,steps.txt}.

Development only; TRL 0.19 or 0.20, the last with this trainer. Each line of steps.txt: loss, gradient norm before clipping.
  python tools/dump_trl_prm.py
The head starts at zero, so that nothing random is left; rows are read in order.
"""
import json, os, random, tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
from datasets import Dataset
from torch.utils.data import SequentialSampler
from transformers import AutoModelForTokenClassification, AutoTokenizer, TrainerCallback
from trl import PRMConfig, PRMTrainer

OUT = "tests/golden/trl_prm"


def rows(n):
    """Sums step by step; a wrong one makes its step false."""
    r = random.Random(7)
    tok = AutoTokenizer.from_pretrained("models/world")
    words = sorted(w for w in tok.get_vocab() if w.isalpha())
    out = []
    for _ in range(n):
        steps, labels = [], []
        for _ in range(r.randint(1, 5)):
            labels.append(r.random() < 0.6)
            steps.append(" ".join(r.choices(words if labels[-1] else words[:20], k=r.randint(2, 9))) + " .")
        out.append({"prompt": " ".join(r.choices(words, k=r.randint(3, 12))) + " ?", "completions": steps, "labels": labels})
    return out


class Ordered(PRMTrainer):
    def _get_train_sampler(self, *_):
        return SequentialSampler(self.train_dataset)


class Keep(TrainerCallback):
    def __init__(self):
        self.lines = []

    def on_log(self, args, state, control, logs=None, **_):
        if "grad_norm" in logs:
            self.lines.append(f"{logs['loss']!r} {logs['grad_norm']!r}")


def main():
    data, keep = rows(80), Keep()
    tok = AutoTokenizer.from_pretrained("models/world")
    model = AutoModelForTokenClassification.from_pretrained("models/world", num_labels=2, torch_dtype=torch.float32)
    torch.nn.init.zeros_(model.score.weight), torch.nn.init.zeros_(model.score.bias)
    with tempfile.TemporaryDirectory() as tmp:
        args = PRMConfig(output_dir=tmp, max_steps=20, use_cpu=True, bf16=False, report_to=[], save_strategy="no", logging_steps=1,
                         learning_rate=1e-3, per_device_train_batch_size=4, lr_scheduler_type="linear", max_length=48,
                         max_prompt_length=8, disable_tqdm=True, seed=0)
        trainer = Ordered(model=model, args=args, processing_class=tok, train_dataset=Dataset.from_list(data), callbacks=[keep])
        trainer.train()
    os.makedirs(OUT, exist_ok=True)
    with open(f"{OUT}/rows.jsonl", "w") as f:
        for row in data:
            f.write(json.dumps(row) + "\n")
    with open(f"{OUT}/steps.txt", "w") as f:
        f.write("\n".join(keep.lines) + "\n")


if __name__ == "__main__":
    main()
