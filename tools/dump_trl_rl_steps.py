"""Dumps tests/golden/trl_rl_steps.json: whole steps of TRL's GRPO and RLOO trainers.

The trainers' own scoring and loss methods run unchanged on a stand-in for the trainer: sampled ids,
rewards per function and log-probs are given, advantages, metrics, losses and gradients come out.
Development only:
    python tools/dump_trl_rl_steps.py
"""
import json
import math
import os
import random
from collections import defaultdict
from types import SimpleNamespace

import torch
import trl
from trl import GRPOTrainer, RLOOTrainer

torch.set_default_dtype(torch.float64)  # quotients of counts, too
rng = random.Random(7)
NAN = math.nan
EOS, PAD = 2, 0
G, LENGTHS, ENDED = 4, [3, 1, 5, 2, 4, 2, 1, 3], [1, 1, 0, 1, 1, 0, 1, 1]
N, T = len(LENGTHS), max(LENGTHS)
SLICES = [[0, 2, 5, 6], [1, 3, 4, 7]]  # two optimiser steps of one sampling, as a shuffle may cut it


def rows(around=None, spread=0.0):
    return [[round((rng.uniform(-3, -0.1) if around is None else around[i][j]) + rng.uniform(-spread, spread), 4)
             for j in range(n)] for i, n in enumerate(LENGTHS)]


OLD = rows()
DATA = {
    "generations": G, "ended": ENDED, "old_logp": OLD, "ref_logp": rows(OLD, 0.6), "logp": rows(OLD, 0.4),
    "entropy": [[round(rng.uniform(0.1, 3), 4) for _ in r] for r in OLD], "slices": SLICES,
    # a source without an answer for some rows; group 0 all equal for the second
    "rewards": {
        "one": [[round(rng.uniform(-2, 2), 4)] for _ in range(N)],
        "two": [[round(rng.uniform(-2, 2), 4), 1.0 if i < G else float(i % 2)] for i in range(N)],
        "holes": [[NAN if i in (1, 6) else round(rng.uniform(-2, 2), 4), NAN if i in (1, 3) else round(rng.uniform(0, 1), 4)]
                  for i in range(N)],
        "flat": [[0.5] if i < G else [float(i == G)] for i in range(N)],
    },
}


def padded(values):
    x = torch.zeros(N, T, dtype=torch.float64)
    for i, r in enumerate(values):
        x[i, : len(r)] = torch.tensor(r, dtype=torch.float64)
    return x


def grad_rows(g, index):
    return [[float(g[k, j]) for j in range(LENGTHS[i])] for k, i in enumerate(index)]


def stand_in(rewards, weights, new, **fields):
    accelerator = SimpleNamespace(
        device=torch.device("cpu"), num_processes=1, process_index=0, sync_gradients=True, gather=lambda x: x,
        reduce=lambda x, reduction="sum": x, pad_across_processes=lambda x, dim=0, pad_index=0: x,
    )
    args = SimpleNamespace(
        per_device_train_batch_size=N, gradient_accumulation_steps=1, gradient_checkpointing_kwargs=None,
        steps_per_generation=fields.pop("steps_per_generation", 1), delta=None,
        use_bias_correction_kl=fields.pop("use_bias_correction_kl", True), sapo_temperature_pos=1.0,
        sapo_temperature_neg=1.05,
    )
    t = SimpleNamespace(
        accelerator=accelerator, args=args, model=SimpleNamespace(training=True, is_gradient_checkpointing=False),
        ref_model="reference", environment_factories=None, environments=None, tools=None, pad_to_multiple_of=None,
        _tokenizer=SimpleNamespace(pad_token_id=PAD), eos_token_ids=[EOS], use_vllm=False, log_multimodal=False,
        num_generations=G, reward_weights=torch.tensor(weights, dtype=torch.float64),
        reward_func_names=[f"f{k}" for k in range(len(weights))], reward_funcs=[None] * len(weights),
        _metrics={"train": defaultdict(list)}, _logs=defaultdict(list), _pending_extra_logs={}, _pending_metrics={},
        current_gradient_accumulation_steps=1, aux_loss_enabled=False, epsilon_low=0.2, epsilon_high=0.2,
        top_entropy_quantile=1.0, off_policy_mask_threshold=None, max_completion_length=6,
        _entropy_bonus_enabled=False, use_adaptive_entropy=False, **fields,
    )
    t._logs["rewards"] = defaultdict(list)
    t._calculate_rewards = lambda *a: torch.tensor(rewards, dtype=torch.float64)
    t.old, t.ref = padded(OLD), padded(DATA["ref_logp"])
    t._get_per_token_logps_and_entropies = lambda model, *a, **k: (
        t.ref if model == "reference" else t.old, None, None)
    return t


PROMPTS = [[1, 3 + i // G] for i in range(N)]
COMPLETIONS = [[5] * (n - 1) + [EOS if e else 5] for n, e in zip(LENGTHS, ENDED)]


def step(t, trainer, inputs, index, new):
    """Loss and gradient of the completions `index` under log-probs `new`."""
    part = {k: v[index] if torch.is_tensor(v) and v.dim() > 0 else v for k, v in inputs.items()}
    logp = padded(new)[index].requires_grad_()
    entropy = padded(DATA["entropy"])[index]
    t._get_per_token_logps_and_entropies = lambda *a, **k: (logp, entropy, None)
    loss = trainer._compute_loss(t, t.model, part)
    loss.backward()
    return {"loss": float(loss.detach()), "grad": grad_rows(logp.grad, index)}


def metrics_of(t):
    return {k: v[0] for k, v in t._metrics["train"].items() if not math.isnan(v[0])}


CASES = []


def run(name, rewards, weights=None, slices=1, off_policy=True, **options):
    trainer = GRPOTrainer if name == "grpo" else RLOOTrainer
    weights = weights or [1.0] * len(DATA["rewards"][rewards][0])
    fields = dict(mask_truncated_completions=options.get("mask_truncated_completions", False), num_iterations=1,
                  beta=options.get("beta", 0.0 if name == "grpo" else 0.05))
    if name == "grpo":
        fields.update(loss_type=options.get("loss_type", "dapo"), steps_per_generation=slices,
                      importance_sampling_level=options.get("importance_sampling_level", "token"),
                      scale_rewards=options.get("scale_rewards", "group"),
                      multi_objective_aggregation=options.get("multi_objective_aggregation", "sum_then_normalize"))
    else:
        fields.update(normalize_advantages=options.get("normalize_advantages", False),
                      reward_clip_range=options.get("reward_clip_range"))
    new = DATA["logp"] if off_policy else OLD
    t = stand_in(DATA["rewards"][rewards], weights, new, **fields)
    t.num_iterations = 2 if off_policy else 1  # old log-probs are then kept apart
    full = (PROMPTS, COMPLETIONS, None, ["x"] * N, None, {}, None, [])
    t._generate = lambda prompts: full if name == "grpo" else (PROMPTS, COMPLETIONS, ["x"] * N)
    inputs = trainer._generate_and_score_completions(t, [{"prompt": "p"} for _ in range(N)])
    index = [list(range(N))] if slices == 1 else SLICES
    before = metrics_of(t)  # of several steps, those of the losses are averages
    steps = [step(t, trainer, inputs, i, new) for i in index]
    CASES.append({
        "trainer": name, "rewards": rewards, "weights": weights, "slices": slices, "off_policy": off_policy,
        "options": options, "advantages": inputs["advantages"].tolist(), "steps": steps,
        "metrics": metrics_of(t) if slices == 1 else before,
    })


run("grpo", "one", off_policy=False)
run("grpo", "one")
run("grpo", "two", weights=[0.7, 2.0])
run("grpo", "holes", weights=[1.0, 0.5])
run("grpo", "flat")
run("grpo", "flat", scale_rewards="batch")
run("grpo", "two", scale_rewards="batch", beta=0.04, loss_type="grpo")
run("grpo", "two", scale_rewards="none", loss_type="dr_grpo")
run("grpo", "two", weights=[1.0, 0.5], multi_objective_aggregation="normalize_then_sum")
run("grpo", "holes", multi_objective_aggregation="normalize_then_sum")
run("grpo", "one", beta=0.1, mask_truncated_completions=True)
run("grpo", "one", loss_type="grpo", mask_truncated_completions=True)
run("grpo", "one", slices=2)
run("grpo", "one", slices=2, loss_type="bnpo")
run("grpo", "one", slices=2, mask_truncated_completions=True, beta=0.1)
run("grpo", "one", slices=2, importance_sampling_level="sequence", loss_type="luspo")
run("rloo", "one", off_policy=False)
run("rloo", "one")
run("rloo", "two", weights=[0.7, 2.0], beta=0.0)
run("rloo", "holes", normalize_advantages=True)
run("rloo", "holes", reward_clip_range=[-0.5, 0.5])
run("rloo", "one", slices=2, normalize_advantages=True, reward_clip_range=[-1.0, 1.0])
run("rloo", "flat", beta=0.0, normalize_advantages=True)
run("rloo", "one", mask_truncated_completions=True)


def jsonable(v):
    if isinstance(v, dict):
        return {k: jsonable(x) for k, x in v.items()}
    if isinstance(v, list):
        return [jsonable(x) for x in v]
    return None if isinstance(v, float) and math.isnan(v) else v


root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
with open(os.path.join(root, "tests", "golden", "trl_rl_steps.json"), "w") as f:
    head = {"trl": trl.__version__, "data": jsonable(DATA)}
    f.write("{" + json.dumps(head)[1:-1] + ',\n"cases": [\n')
    f.write(",\n".join(json.dumps(jsonable(c)) for c in CASES) + "\n]}\n")
print(len(CASES), "cases")
