"""Dumps tests/golden/trl_gkd.json: TRL's GKD loss and its gradient with respect to the student's logits.

GKDTrainer.compute_loss runs unchanged on stand-ins for the trainer and the two models, in double; a step is two
micro-batches that share num_items_in_batch. Development only:
    python tools/dump_trl_gkd.py
"""
import json
import os
import random
from types import SimpleNamespace

import torch
from trl.experimental.gkd import GKDTrainer

rng = random.Random(11)
LENGTHS, V = [3, 1, 4, 2], 9  # completions; each follows a prompt of one token
T = 1 + max(LENGTHS)


def logits():
    return [[[round(rng.gauss(0, 2), 3) for _ in range(V)] for _ in range(n)] for n in LENGTHS]


class Model:
    """The row before a token predicts it; rows that predict nothing hold something else."""
    def __init__(self, rows):
        self.rows = rows

    def eval(self):
        pass

    def __call__(self, input_ids, attention_mask):
        return SimpleNamespace(logits=self.rows[input_ids[:, 0]])


def padded(rows):
    x = torch.full((len(LENGTHS), T, V), 7.0, dtype=torch.float64)
    for i, seq in enumerate(rows):
        x[i, :len(seq)] = torch.tensor(seq, dtype=torch.float64)
    return x


student, teacher = logits(), logits()
cases = []
for beta in [0.0, 0.1, 0.5, 0.9, 1.0]:
    z = padded(student).requires_grad_()
    trainer = SimpleNamespace(teacher_model=Model(padded(teacher)), beta=beta,
                              generalized_jsd_loss=GKDTrainer.generalized_jsd_loss)
    losses = []
    for part in [[0, 1], [2, 3]]:
        ids = torch.tensor([[i] * T for i in part])
        labels = torch.full((len(part), T), -100)
        for k, i in enumerate(part):
            labels[k, 1:1 + LENGTHS[i]] = 1
        losses.append(GKDTrainer.compute_loss(trainer, Model(z), {"input_ids": ids, "attention_mask": ids >= 0, "labels": labels},
                                              num_items_in_batch=sum(LENGTHS)))
    loss = sum(losses)
    loss.backward()
    grad = [[[float(v) for v in row] for row in z.grad[i, :n]] for i, n in enumerate(LENGTHS)]
    assert all(float(z.grad[i, n:].abs().sum()) == 0 for i, n in enumerate(LENGTHS))
    cases.append({"beta": beta, "loss": float(loss), "grad": grad})

path = os.path.join(os.path.dirname(__file__), "..", "tests", "golden", "trl_gkd.json")
with open(path, "w") as f:
    f.write('{"student": %s,\n"teacher": %s,\n"cases": [\n' % (json.dumps(student), json.dumps(teacher)))
    f.write(",\n".join(json.dumps(c) for c in cases) + "\n]}\n")
