#!/usr/bin/env python3
"""What rounded moments cost: the same run with --optim adamw_torch, adamw_bf16 and adamw_8bit. Development only.

  tools/compare_optim.py [--tenet BIN] [--steps 200] VERB MODEL DATA [OPTIONS OF VERB ...]

For each kind: bytes of the moments in the checkpoint, the mean loss of the last tenth of the steps, the length and
the direction of what the run did to the weights against float32 moments (1 - cosine), and that of the last tenth of
the steps alone, where the moments are old. A second float32 run on the rows in another order shows what a difference
of that size means.
"""
import argparse, json, os, shutil, struct, subprocess, sys, tempfile

import numpy as np


def tensors(path):
    """All float tensors of a safetensors file as one vector, by name."""
    data = open(path, "rb").read()
    n = struct.unpack("<Q", data[:8])[0]
    head = {k: v for k, v in json.loads(data[8:8 + n]).items() if k != "__metadata__"}
    part = []
    for name in sorted(head):
        begin, end = head[name]["data_offsets"]
        raw = data[8 + n + begin:8 + n + end]
        if head[name]["dtype"] == "F32":
            part.append(np.frombuffer(raw, np.float32))
        elif head[name]["dtype"] == "BF16":
            part.append((np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32))
    return np.concatenate(part)


def angle(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return 1 - a @ b / np.sqrt((a @ a) * (b @ b))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--tenet", default="build/tenet")
    p.add_argument("--steps", type=int, default=200)
    p.add_argument("verb"), p.add_argument("model"), p.add_argument("data"), p.add_argument("rest", nargs=argparse.REMAINDER)
    o = p.parse_args()
    work, tail = tempfile.mkdtemp(), o.steps // 10
    start = None
    runs = {}
    for name, more in (("adamw_torch", []), ("adamw_bf16", []), ("adamw_8bit", []), ("other order", ["--seed", "7"])):
        out = os.path.join(work, name)
        kind = "adamw_torch" if " " in name else name
        command = [o.tenet, o.verb, "--model", o.model, "--data", o.data, "--output-dir", out, "--max-steps", str(o.steps),
                   "--optim", kind, "--lr-scheduler-type", "constant", "--save-steps", str(o.steps - tail),
                   "--num-train-epochs", "1000", "--save-dtype", "float32"]
        done = subprocess.run(command + o.rest + more, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(done.stderr.splitlines()[-1])
        loss = [json.loads(x)["loss"] for x in open(os.path.join(out, "metrics.jsonl")) if '"loss"' in x]
        late = os.path.join(out, "checkpoint-%d" % (o.steps - tail))
        end = tensors(os.path.join(out, "model.safetensors"))
        if start is None:
            start = tensors(os.path.join(o.model, "model.safetensors"))
        moved = end - start if start.size == end.size else end
        runs[name] = (os.path.getsize(os.path.join(late, "optimizer/model.safetensors")), np.mean(loss[-tail:]), moved,
                      end - tensors(os.path.join(late, "model.safetensors")))
        shutil.rmtree(out)
    full = runs["adamw_torch"]
    print("%-12s %12s %10s %10s %12s %12s" % ("", "moments MB", "loss", "length", "direction", "last tenth"))
    for name, (size, loss, moved, late) in runs.items():
        length = np.linalg.norm(moved) / np.linalg.norm(full[2])
        print("%-12s %12.2f %10.4f %10.4f %12.2e %12.2e" % (name, size / 1e6, loss, length, angle(moved, full[2]), angle(late, full[3])))
    os.rmdir(work)


main()
