"""Dumps tests/golden/trl_losses.json: losses, gradients and logged metrics of TRL's own trainers.

Each trainer's loss method runs unchanged on a stand-in for the trainer and a stand-in for the
model that returns given numbers; gradients come from autograd. Development only:
    python tools/dump_trl_losses.py
"""
import json
import os
import random
from collections import defaultdict
from contextlib import nullcontext
from types import SimpleNamespace

import torch
import trl
from trl import DPOTrainer, GRPOTrainer, KTOTrainer, RewardTrainer, RLOOTrainer, SFTTrainer
from trl.experimental.a2po import A2POTrainer
from trl.experimental.cpo import CPOTrainer
from trl.experimental.gmpo import GMPOTrainer
from trl.experimental.orpo import ORPOTrainer

rng = random.Random(5)
LENGTHS = [4, 2, 3, 5, 1, 3]  # pairs (0,3), (1,4), (2,5)
N, T = len(LENGTHS), 7        # row: prompt of 1 token + completion, padded


def uniform(lo, hi):
    return round(rng.uniform(lo, hi), 4)


def rows(lo, hi):
    return [[uniform(lo, hi) for _ in range(n)] for n in LENGTHS]


DATA = {
    "logp": rows(-3, -0.1), "entropy": rows(0.1, 3), "mean_logit": rows(-4, 4), "log_sum_sq_p": rows(-2, -0.1),
    "top1": [[rng.randrange(2) for _ in range(n)] for n in LENGTHS],
    "score": [uniform(-2, 2) for _ in range(N)], "margin": [uniform(0, 1) for _ in range(N // 2)],
    "label": [1, 0, 1, 0, 0, 1], "kl_logp": [uniform(-9, -5) for _ in range(N)],
    "kl_ref_logp": [uniform(-9, -6) for _ in range(N)],
    "advantage": [uniform(-1.5, 1.5) for _ in range(N)],
}
DATA["ref_logp"] = [[round(v + uniform(-0.6, 0.6), 4) for v in r] for r in DATA["logp"]]
DATA["old_logp"] = [[round(v + uniform(-0.4, 0.4), 4) for v in r] for r in DATA["logp"]]


class Accelerator:
    device = torch.device("cpu")
    num_processes = 1
    parallelism_config = None

    def gather(self, x):
        return x

    def gather_for_metrics(self, x):
        return x

    def reduce(self, x, reduction="sum"):
        return x

    def pad_across_processes(self, x, dim=0, pad_index=0):
        return x


class Model(torch.nn.Module):
    """Returns given numbers whatever it is asked."""

    def __init__(self, out):
        super().__init__()
        self.out = out
        self.is_gradient_checkpointing = False

    def forward(self, **kwargs):
        return self.out


def padded(values, dtype):
    x = torch.zeros(N, T - 1, dtype=dtype)
    for i, r in enumerate(values):
        x[i, : len(r)] = torch.tensor(r, dtype=dtype)
    return x


def batch(dtype):
    mask = torch.zeros(N, T, dtype=torch.long)
    for i, n in enumerate(LENGTHS):
        mask[i, 1 : 1 + n] = 1
    logp = padded(DATA["logp"], dtype).requires_grad_()
    out = SimpleNamespace(
        log_probs=logp, entropy=padded(DATA["entropy"], dtype), mean_logits=padded(DATA["mean_logit"], dtype),
        is_top1=padded(DATA["top1"], dtype).bool(), log_sum_sq_probs=padded(DATA["log_sum_sq_p"], dtype),
        label_mask=mask[:, 1:].bool(),
    )
    attention = mask.clone()
    attention[:, 0] = 1
    inputs = {"input_ids": torch.ones(N, T, dtype=torch.long), "attention_mask": attention, "completion_mask": mask}
    return logp, out, inputs


def trainer(model, **fields):
    args = SimpleNamespace(gradient_checkpointing_kwargs=None, average_tokens_across_devices=False)
    for k in [k for k in fields if k.startswith("args_")]:
        setattr(args, k[5:], fields.pop(k))
    base = dict(
        model=model, accelerator=Accelerator(), aux_loss_enabled=False, _metrics={"train": defaultdict(list)},
        _total_train_tokens=0, _tp_size=1, args=args, precompute_ref_logps=False,
        current_gradient_accumulation_steps=1, maybe_activation_offload_context=nullcontext(),
    )
    return SimpleNamespace(**{**base, **fields})


def metrics_of(t):
    skip = ("num_tokens", "policy_loss", "entropy_coef")
    return {k: float(sum(v) / len(v)) for k, v in t._metrics["train"].items() if k not in skip}


def completion(grad):
    return [[float(grad[i, j]) for j in range(n)] for i, n in enumerate(LENGTHS)]


CASES = []


def add(trainer_name, options, loss, metrics, logp=None, score=None, rel=1e-12):
    loss.backward()
    c = {"trainer": trainer_name, "options": options, "loss": float(loss), "metrics": metrics, "rel": rel}
    if logp is not None:
        c["logp_grad"] = completion(logp.grad)
    if score is not None:
        c["score_grad"] = [float(v) for v in score.grad]
    CASES.append(c)


def dpo(loss_type, weights=None, rel=1e-12, dtype=torch.float64, **opt):
    logp, out, inputs = batch(dtype)
    ref = Model(SimpleNamespace(log_probs=padded(DATA["ref_logp"], dtype)))
    t = trainer(
        Model(out), ref_model=ref, loss_types=loss_type, loss_weights=weights or [1.0] * len(loss_type),
        beta=opt.get("beta", 0.1), label_smoothing=opt.get("label_smoothing", 0.0),
        f_divergence_type=opt.get("f_divergence_type", "reverse_kl"),
        f_alpha_divergence_coef=opt.get("f_alpha_divergence_coef", 0.5), ld_alpha=opt.get("ld_alpha"),
        use_weighting=opt.get("use_weighting", False), args_discopop_tau=opt.get("discopop_tau", 0.05),
    )
    loss = DPOTrainer._compute_loss(t, t.model, inputs, False)
    options = {"loss_type": loss_type, **opt}
    if weights:
        options["loss_weights"] = weights
    add("dpo", options, loss, metrics_of(t), logp=logp, rel=rel)


for kind in ["sigmoid", "hinge", "ipo", "nca_pair", "bco_pair", "sppo_hard", "apo_zero", "apo_down", "sft",
             "sigmoid_norm", "aot", "aot_unpaired"]:
    dpo([kind], beta=0.4)
dpo(["robust"], beta=0.4, label_smoothing=0.1)
dpo(["exo_pair"], beta=0.4, label_smoothing=0.01, rel=1e-6)  # epsilon is a float32 tensor there
dpo(["discopop"], beta=0.3, discopop_tau=0.2)
dpo(["aot"], beta=0.4, label_smoothing=0.1)
dpo(["sigmoid"], beta=0.4, ld_alpha=0.3)
dpo(["ipo"], beta=0.4, ld_alpha=0.3)
dpo(["sigmoid"], beta=0.4, use_weighting=True)
dpo(["ipo"], beta=0.4, use_weighting=True)
dpo(["sigmoid", "bco_pair", "sft"], weights=[0.8, 0.2, 1.0], beta=0.1)
for f in ["forward_kl", "js_divergence"]:
    for kind in ["sigmoid", "ipo", "sigmoid_norm", "hinge", "robust"]:
        dpo([kind], beta=0.4, f_divergence_type=f)
for kind in ["sigmoid", "ipo"]:
    dpo([kind], beta=0.4, f_divergence_type="alpha_divergence", f_alpha_divergence_coef=0.3, dtype=torch.float32,
        rel=2e-5)


def reward(center=None, margin=False):
    score = torch.tensor(DATA["score"], dtype=torch.float64, requires_grad=True)
    t = trainer(Model(SimpleNamespace(logits=score.unsqueeze(-1))), args_center_rewards_coefficient=center)
    inputs = {"attention_mask": torch.ones(N, T)}
    if margin:
        inputs["margin"] = torch.tensor(DATA["margin"], dtype=torch.float64)
    loss = RewardTrainer.compute_loss(t, t.model, inputs)
    add("reward", {"center_rewards_coefficient": center or 0, "margin": margin}, loss, metrics_of(t), score=score)


reward()
reward(center=0.05)
reward(center=0.05, margin=True)


def sft(loss_type):
    logp, out, inputs = batch(torch.float64)
    t = trainer(Model(out), compute_loss_func=None, label_smoother=None, args_loss_type=loss_type,
                args_report_to=[])
    inputs.pop("completion_mask")
    inputs["labels"] = inputs["input_ids"]
    loss = SFTTrainer.compute_loss(t, t.model, inputs)
    add("sft", {"loss_type": loss_type}, loss, metrics_of(t), logp=logp)


sft("nll")
sft("dft")


def kto(loss_type, **opt):
    logp, out, inputs = batch(torch.float64)
    inputs["label"] = torch.tensor(DATA["label"])
    kl = iter([torch.tensor(DATA["kl_logp"], dtype=torch.float64), torch.tensor(DATA["kl_ref_logp"], dtype=torch.float64)])
    t = trainer(
        Model(out), ref_model=Model(SimpleNamespace(log_probs=padded(DATA["ref_logp"], torch.float64))),
        loss_type=loss_type, calculate_KL=loss_type == "kto", beta=opt["beta"],
        desirable_weight=opt["desirable_weight"], undesirable_weight=opt["undesirable_weight"],
        _compute_kl_logps=lambda model, b: next(kl),
    )
    loss = KTOTrainer._compute_loss(t, t.model, inputs, False)
    add("kto", {"loss_type": loss_type, **opt}, loss, metrics_of(t), logp=logp)


kto("kto", beta=0.3, desirable_weight=1.3, undesirable_weight=0.9)
kto("apo_zero_unpaired", beta=0.3, desirable_weight=1.0, undesirable_weight=1.0)


def grpo(loss_type, level="token", beta=0.0, eps=0.2, eps_high=0.2, delta=None, entropy_coef=0.0, bias_correction=False,
         off_policy=None, top=1.0):
    logp, out, _ = batch(torch.float64)
    mask = out.label_mask.long()
    t = trainer(
        Model(out), loss_type=loss_type, beta=beta, epsilon_low=eps, epsilon_high=eps_high, use_vllm=False,
        importance_sampling_level=level, top_entropy_quantile=top, off_policy_mask_threshold=off_policy,
        max_completion_length=9, _entropy_bonus_enabled=entropy_coef != 0, use_adaptive_entropy=False,
        entropy_coef=entropy_coef, args_delta=delta, args_use_bias_correction_kl=bias_correction,
        args_vespo_k_pos=2.0, args_vespo_lambda_pos=3.0, args_vespo_k_neg=3.0, args_vespo_lambda_neg=2.0,
        args_sapo_temperature_pos=1.0, args_sapo_temperature_neg=1.05, args_steps_per_generation=1,
        tools=None, mask_truncated_completions=False,
    )
    t.accelerator.sync_gradients = True
    t._get_per_token_logps_and_entropies = lambda *a, **k: (logp, out.entropy, None)
    t.get_high_entropy_mask = lambda *a: GRPOTrainer.get_high_entropy_mask(t, *a)
    t.get_off_policy_mask = GRPOTrainer.get_off_policy_mask
    t.get_gamma_weights = GRPOTrainer.get_gamma_weights
    inputs = {
        "prompt_ids": torch.ones(N, 1, dtype=torch.long), "prompt_mask": torch.ones(N, 1, dtype=torch.long),
        "completion_ids": torch.ones(N, T - 1, dtype=torch.long), "completion_mask": mask,
        "advantages": torch.tensor(DATA["advantage"], dtype=torch.float64),
        "old_per_token_logps": padded(DATA["old_logp"], torch.float64),
        "ref_per_token_logps": padded(DATA["ref_logp"], torch.float64),
        "num_items_in_batch": mask.sum(),
    }
    loss = (GMPOTrainer if loss_type == "gmpo" else GRPOTrainer)._compute_loss(t, t.model, inputs)
    options = {"loss_type": loss_type, "importance_sampling_level": level, "beta": beta, "epsilon_high": eps_high,
               "max_completion_length": 9, "entropy_coef": entropy_coef}
    options["use_bias_correction_kl"] = bias_correction
    options.update({k: v for k, v in [("delta", delta), ("off_policy_mask_threshold", off_policy)] if v})
    if top < 1:
        options["top_entropy_quantile"] = top
    if eps != (0.4 if loss_type == "gmpo" else 0.2):  # the default
        options["epsilon"] = eps
    # the temperatures of sapo are float32 there
    add("grpo", options, loss, metrics_of(t), logp=logp, rel=1e-6 if loss_type == "sapo" else 1e-12)


for kind in ["dapo", "bnpo", "grpo", "dr_grpo", "luspo", "sapo"]:
    for level in ["token", "sequence"]:
        grpo(kind, level)
grpo("cispo", eps_high=1.1)
grpo("grpo", beta=0.04)
grpo("dapo", eps_high=0.28, delta=1.35, entropy_coef=0.1)
grpo("dapo", eps_high=0.28, delta=1.15, beta=0.1, entropy_coef=0.02)
grpo("grpo", level="sequence", beta=0.04)
grpo("dapo", beta=0.1, bias_correction=True)
grpo("grpo", level="sequence", beta=0.1, bias_correction=True)
grpo("vespo")
grpo("vespo", level="sequence", beta=0.1, bias_correction=True)
grpo("dapo", off_policy=0.05, beta=0.1)
grpo("dapo", top=0.3, entropy_coef=0.1, beta=0.1, bias_correction=True)
grpo("grpo", level="sequence", top=0.5, off_policy=0.02)
grpo("gmpo", eps=0.4, eps_high=0.4)
grpo("gmpo", eps=0.1, eps_high=0.15, beta=0.1, bias_correction=True)
grpo("gmpo", eps=0.1, eps_high=0.1, top=0.5)


def rloo():
    logp, out, _ = batch(torch.float64)
    mask = out.label_mask.long()
    t = trainer(Model(out), epsilon_low=0.2, epsilon_high=0.2)
    t._get_per_token_logps_and_entropies = lambda *a, **k: (logp, out.entropy, None)
    inputs = {
        "prompt_ids": torch.ones(N, 1, dtype=torch.long), "prompt_mask": torch.ones(N, 1, dtype=torch.long),
        "completion_ids": torch.ones(N, T - 1, dtype=torch.long), "completion_mask": mask,
        "advantages": torch.tensor(DATA["advantage"], dtype=torch.float64),
        "old_logps": padded(DATA["old_logp"], torch.float64).sum(1),
    }
    add("rloo", {"epsilon": 0.2}, RLOOTrainer._compute_loss(t, t.model, inputs), metrics_of(t), logp=logp)


rloo()


def a2po(beta2):
    logp, out, _ = batch(torch.float64)
    t = trainer(Model(out), args_beta2=beta2)
    t.model.training = True
    t._get_sequence_logps = lambda *a: (logp * out.label_mask).sum(1)
    inputs = {
        "input_ids": None, "attention_mask": None, "logits_to_keep": None,
        "ref_logps": padded(DATA["ref_logp"], torch.float64).sum(1),
        "rewards": torch.tensor(DATA["advantage"], dtype=torch.float64),
        "v_star": torch.tensor(DATA["score"], dtype=torch.float64),
    }
    add("a2po", {"beta2": beta2}, A2POTrainer.compute_loss(t, t.model, inputs), metrics_of(t), logp=logp)


a2po(0.3)
a2po(1e-3)


def free(name, loss_type=None, **opt):
    """CPO and ORPO: their pair losses and the negative log-likelihood of chosen tokens."""
    logp, out, inputs = batch(torch.float64)
    n = out.label_mask.sum(1)
    mean = name == "orpo" or loss_type in ("ipo", "simpo")
    s = (logp * out.label_mask).sum(1) / (n if mean else 1)
    nll = -(logp * out.label_mask)[: N // 2].sum() / n[: N // 2].sum()
    logits = lambda a, b: out.mean_logits[a:b][out.label_mask[a:b]]
    t = trainer(Model(out), loss_type=loss_type, **opt)
    t.concatenated_forward = lambda model, b: (s[: N // 2], s[N // 2 :], logits(0, N // 2), logits(N // 2, N), nll)
    if name == "cpo":
        t.cpo_loss = lambda *a: CPOTrainer.cpo_loss(t, *a)
        loss, metrics = CPOTrainer.get_batch_loss_metrics(t, t.model, inputs)
    else:
        t.odds_ratio_loss = lambda *a: ORPOTrainer.odds_ratio_loss(t, *a)
        loss, metrics = ORPOTrainer.get_batch_loss_metrics(t, t.model, inputs)
    options = {**({"loss_type": loss_type} if loss_type else {}), **opt}
    rel = 1e-5 if name == "orpo" else 1e-12  # ORPO casts to float32
    add(name, options, loss, {k: float(v) for k, v in metrics.items()}, logp=logp, rel=rel)


for kind in ["sigmoid", "hinge", "ipo", "simpo"]:
    free("cpo", kind, beta=0.5, label_smoothing=0.05, cpo_alpha=0.7, simpo_gamma=0.4, alpha=0.0)
free("cpo", "simpo", beta=2.0, label_smoothing=0.0, cpo_alpha=0.0, simpo_gamma=1.0, alpha=0.1)
free("orpo", beta=0.3)

root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
with open(os.path.join(root, "tests", "golden", "trl_losses.json"), "w") as f:
    head = {"trl": trl.__version__, "data": DATA}
    f.write("{" + json.dumps(head)[1:-1] + ',\n"cases": [\n')
    f.write(",\n".join(json.dumps(c) for c in CASES) + "\n]}\n")
print(len(CASES), "cases")
