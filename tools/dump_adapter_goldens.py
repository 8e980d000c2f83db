"""Writes adapter folders with peft's numbers beside the checkpoints of tests/golden/model.

    python tools/dump_adapter_goldens.py tests/golden/model

Each folder holds adapter_config.json (its base is a folder beside it), adapter_model.safetensors and expect.json
as tools/dump_model_fidelity.py writes it, of A, B and the score head only; for scores the gradient of their mean.
"""
import json
import os
import shutil
import sys

import torch
import transformers as tf

from adapter_zoo import MODULES, adapt, saved_name
from dump_model_fidelity import expect, gradients

CASES = {
    "lora-llama": dict(base="llama-llama3", r=3, lora_alpha=5, target_modules="all-linear"),
    "lora-qwen2-rslora": dict(base="qwen2-yarn-late-window", r=4, lora_alpha=6, use_rslora=True,
                              target_modules=["q_proj", "v_proj", "down_proj"]),
    "lora-score": dict(base="llama-llama3", score=True, r=2, lora_alpha=4, target_modules=MODULES[1:6]),
}


def main(out):
    for seed, (name, case) in enumerate(CASES.items()):
        case = dict(case)
        base, score = case.pop("base"), case.get("score", False)
        kind = tf.AutoModelForSequenceClassification if score else tf.AutoModelForCausalLM
        more = dict(num_labels=1, pad_token_id=0) if score else {}
        model = kind.from_pretrained(os.path.join(out, base), attn_implementation="eager", **more)
        model = adapt(model, seed, **case)
        where = os.path.join(out, name)
        shutil.rmtree(where, ignore_errors=True)
        model.save_pretrained(where)
        os.remove(os.path.join(where, "README.md"))
        config = os.path.join(where, "adapter_config.json")
        c = json.load(open(config))
        c["base_model_name_or_path"] = "../" + base
        c["target_modules"] = sorted(c["target_modules"])
        json.dump(c, open(config, "w"), indent=1, sort_keys=True)
        for f in os.listdir(where):
            os.chmod(os.path.join(where, f), 0o644)
        x = expect(model, dict(score=score, vocab_size=model.config.vocab_size), seed)
        if score:
            model.zero_grad()
            torch.stack([model(input_ids=torch.tensor([r])).logits[0, 0] for r in x["rows"]]).mean().backward()
            x.update(gradients({n: p.grad for n, p in model.named_parameters() if p.requires_grad}))
        for key in ("grad_norm", "grad_along"):
            x[key] = {saved_name(n): v for n, v in x[key].items()}
        with open(os.path.join(where, "expect.json"), "w") as f:
            json.dump(x, f)


if __name__ == "__main__":
    main(sys.argv[1])
