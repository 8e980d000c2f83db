#!/usr/bin/env python3
"""Ten steps of TRL's SDFTTrainer on models/world in float32, for three teachers: tests/golden/trl_sdft/{rows.jsonl,steps.txt}.

Development only; TRL 1.16 (trl.experimental.sdft).
  python tools/dump_trl_sdft.py
Completions are given instead of sampled, so that nothing random is left; rows are read in order; the divergence is over the
whole vocabulary. Each line of steps.txt: kind of teacher, alpha, loss, gradient norm before clipping.
"""
import json, os, random, tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl.experimental.sdft import SDFTConfig, SDFTTrainer

OUT = "tests/golden/trl_sdft"
CASES = [("base", 0.5), ("live", 1.0), ("ema", 0.0), ("ema", 0.3)]


def rows(n):
    r = random.Random(11)
    tok = AutoTokenizer.from_pretrained("models/world")
    words = sorted(w for w in tok.get_vocab() if w.isalpha())
    text = lambda a, b: " ".join(r.choices(words, k=r.randint(a, b)))
    return [{"prompt": [{"role": "user", "content": text(3, 12) + " ?"}], "privileged_context": text(2, 20) + " .",
             "completion": [{"role": "assistant", "content": text(1, 14) + " ."}]} for _ in range(n)]


class Given(SDFTTrainer):
    def _generate(self, prompt_ids):
        return prompt_ids, [self.given[tuple(p)] for p in prompt_ids]


class Keep(TrainerCallback):
    def __init__(self):
        self.lines = []

    def on_log(self, args, state, control, logs=None, **_):
        if "grad_norm" in logs:
            self.lines.append((logs["loss"], logs["grad_norm"]))


def run(kind, alpha, data):
    tok, keep = AutoTokenizer.from_pretrained("models/world"), Keep()
    model = AutoModelForCausalLM.from_pretrained("models/world", dtype=torch.float32)
    with tempfile.TemporaryDirectory() as tmp:
        args = SDFTConfig(output_dir=tmp, max_steps=10, use_cpu=True, bf16=False, report_to=[], save_strategy="no", logging_steps=1,
                          learning_rate=1e-3, per_device_train_batch_size=4, lr_scheduler_type="linear", disable_tqdm=True, seed=0,
                          num_generations=1, shuffle_dataset=False, distillation_mode="full_logits", distillation_alpha=alpha,
                          teacher_model_kind=kind, teacher_update_rate=0.3, teacher_sync_steps=2,
                          teacher_prompt_template="{prompt} Passage: {privileged_context} Answer:")
        trainer = Given(model=model, args=args, processing_class=tok, callbacks=[keep],
                        train_dataset=Dataset.from_list([{k: x[k] for k in ("prompt", "privileged_context")} for x in data]))
        prompts = trainer._tokenize_prompts([x["prompt"] for x in data])
        trainer.given = {tuple(p): tok(x["completion"][0]["content"], add_special_tokens=False)["input_ids"] + [tok.eos_token_id]
                         for p, x in zip(prompts, data)}
        trainer.train()
    return keep.lines


def main():
    data = rows(40)
    os.makedirs(OUT, exist_ok=True)
    with open(f"{OUT}/rows.jsonl", "w") as f:
        for x in data:
            f.write(json.dumps(x) + "\n")
    with open(f"{OUT}/steps.txt", "w") as f:
        for kind, alpha in CASES:
            for loss, norm in run(kind, alpha, data):
                f.write(f"{kind} {alpha} {loss!r} {norm!r}\n")
    print("default learning rate", SDFTConfig(output_dir="x").learning_rate)


main()
