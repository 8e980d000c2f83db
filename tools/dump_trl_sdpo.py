#!/usr/bin/env python3
"""Ten steps of TRL's SDPOTrainer on models/world in float32, on what `tenet sdpo` sampled: tests/golden/trl_sdpo.

Development only; TRL 1.16 (trl.experimental.sdpo), after make build/tenet.
  python tools/dump_trl_sdpo.py
rows.jsonl are the prompts; for every case tenet runs first, and TRL's trainer gets its answers and rewards, in order, instead
of sampling. Each line of steps.txt: case, loss, gradient norm before clipping, share of answers with a teacher; samples.txt is
a hash of each case's answers.
"""
import hashlib, json, os, random, subprocess, tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl.experimental.sdpo import SDPOConfig, SDPOTrainer

OUT = "tests/golden/trl_sdpo"
STEPS, PROMPTS, EACH = 10, 2, 4
# the options as tests/e2e/sdpo.sh has them, and TRL's names for them
CASES = {
    "sampled": ({}, "ema"),
    "jsd": ({"distillation_mode": "full_logits", "distillation_alpha": 0.5}, "base"),
    "both": ({"distillation_mode": "full_logits", "distillation_alpha": 0.0, "distillation_weight": 0.5,
              "include_environment_feedback": True, "environment_feedback_only_without_solution": True}, "live"),
}
TEXT = {"reprompt_template": "{prompt} {solution} {feedback}", "solution_template": "Passage: {successful_previous_attempt}",
        "feedback_template": "User: {feedback_raw}"}


def rows(n):
    r = random.Random(5)
    out = []
    for i in range(n):
        a, b, c = (r.randint(1, 9) for _ in range(3))
        x = {"prompt": [{"role": "user", "content": f"what is {a} + {b} + {c} ?"}], "answer": str(a + b + c)}
        if i % 3:
            x["privileged_context"] = f"the sum is {a + b + c} ."
        out.append(x)
    return out


def own(case, data):
    more, kind = CASES[case]
    with tempfile.TemporaryDirectory() as tmp:
        args = ["build/tenet", "sdpo", "--model", "models/world", "--data", f"{OUT}/rows.jsonl", "--dtype", "float32", "--output-dir", tmp,
                "--overwrite", "--save-steps", "0", "--logging-steps", "1", "--max-steps", str(STEPS), "--learning-rate", "1e-3", "--seed", "7",
                "--per-device-train-batch-size", str(PROMPTS * EACH), "--num-generations", str(EACH), "--max-completion-length", "24",
                "--lr-scheduler-type", "linear", "--train-sampling-strategy", "sequential", "--log-samples", "8", "--reward-funcs", "number:answer",
                "--teacher-model-kind", kind, "--temperature", "1.3"]
        if kind == "ema":
            args += ["--teacher-update-rate", "0.3", "--teacher-sync-steps", "2"]
        for k, v in {**TEXT, **more}.items():
            args += ["--" + k.replace("_", "-")] + ([] if v is True else [str(v)])
        subprocess.run(args, check=True, capture_output=True)
        said = [json.loads(line) for line in open(f"{tmp}/samples.jsonl")]
        lines = [json.loads(line) for line in open(f"{tmp}/metrics.jsonl")]
    return said, [(x["loss"], x["grad_norm"], x["self_distillation/reprompt_sample_fraction"]) for x in lines]


class Given(SDPOTrainer):
    def _generate(self, prompt_ids):
        now, self.said = self.said[:PROMPTS * EACH], self.said[PROMPTS * EACH:]
        self.now = now
        return prompt_ids, [self._tokenizer(x["response"], add_special_tokens=False)["input_ids"] for x in now]

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        for x, y in zip(inputs, self.now):
            assert x["prompt"][0]["content"] in y["prompt"], (x, y)
        return torch.tensor([[float(x["reward"])] for x in self.now])


class Keep(TrainerCallback):
    def __init__(self):
        self.lines = []

    def on_log(self, args, state, control, logs=None, **_):
        if "grad_norm" in logs:
            self.lines.append((logs["loss"], logs["grad_norm"], logs["self_distillation/reprompt_sample_fraction"]))


def theirs(case, data, said):
    more, kind = CASES[case]
    tok, keep = AutoTokenizer.from_pretrained("models/world"), Keep()
    model = AutoModelForCausalLM.from_pretrained("models/world", dtype=torch.float32)
    with tempfile.TemporaryDirectory() as tmp:
        args = SDPOConfig(output_dir=tmp, max_steps=STEPS, use_cpu=True, bf16=False, report_to=[], save_strategy="no", logging_steps=1,
                          learning_rate=1e-3, per_device_train_batch_size=PROMPTS * EACH, num_generations=EACH, lr_scheduler_type="linear",
                          disable_tqdm=True, seed=0, shuffle_dataset=False, max_completion_length=24, temperature=1.3, teacher_model_kind=kind,
                          teacher_update_rate=0.3, teacher_sync_steps=2, **TEXT, **more)
        trainer = Given(model=model, args=args, processing_class=tok, callbacks=[keep], reward_funcs=[lambda **_: [0.0]],
                        train_dataset=Dataset.from_list([{k: x.get(k, "") for k in ("prompt", "privileged_context")} for x in data]))
        trainer.said = list(said)
        trainer.train()
    return keep.lines


def main():
    data = rows(2 * STEPS)
    os.makedirs(OUT, exist_ok=True)
    with open(f"{OUT}/rows.jsonl", "w") as f:
        for x in data:
            f.write(json.dumps(x) + "\n")
    with open(f"{OUT}/steps.txt", "w") as f, open(f"{OUT}/samples.txt", "w") as h:
        for case in CASES:
            said, mine = own(case, data)
            h.write(f"{case} {hashlib.sha256(''.join(x['response'] for x in said).encode()).hexdigest()[:16]}\n")
            for (loss, norm, share), m in zip(theirs(case, data, said), mine):
                f.write(f"{case} {loss!r} {norm!r} {share!r}\n")
                print(case, "TRL", loss, norm, share, "tenet", *m)
    print("default learning rate", SDPOConfig(output_dir="x", use_cpu=True, bf16=False).learning_rate)


main()
