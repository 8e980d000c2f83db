"""torch's `linear` at the shapes of gemm_bench.c, in the same line format: run both in one sitting.

  python bench/gemm_torch.py [--dtype f32|bf16] [--threads N] [--m M,M] [--shape KxN,KxN] [--op fwd|dx|dw] [--runs R] [--cpu-time]

Needs torch only. Operands are made beforehand in the type measured (gemm_bench counts its conversions from float).
"""
import argparse, time, torch

ap = argparse.ArgumentParser()
ap.add_argument("--dtype", default="f32")
ap.add_argument("--threads", type=int, default=2)
ap.add_argument("--op", default="fwd")
ap.add_argument("--m", default="1,4,16,64,256,1024")
ap.add_argument("--shape", default="128x384,128x688,344x128,128x329,288x768,576x576,576x1536,1536x576,2048x2048,576x49152")
ap.add_argument("--runs", type=int, default=7)
ap.add_argument("--cpu-time", action="store_true")
a = ap.parse_args()
torch.set_num_threads(a.threads)
clock = (lambda: time.process_time() / a.threads) if a.cpu_time else time.perf_counter
dt = torch.float32 if a.dtype == "f32" else torch.bfloat16


def measure(fn):
    fn()
    seconds, calls = [], 1
    while len(seconds) < a.runs:
        t0 = clock()
        for _ in range(calls):
            fn()
        t = clock() - t0
        if t >= 0.02:
            seconds.append(t / calls)
        else:
            calls = int(calls * 0.025 / t) + 1 if t > 0.002 else calls * 8
    return sorted(seconds)


print(f"# torch {torch.__version__}, {a.threads} threads, {a.dtype}{', processor time' if a.cpu_time else ''}")
with torch.no_grad():
    for shape in a.shape.split(","):
        k, n = map(int, shape.split("x"))
        w = torch.randn(n, k).to(dt)
        for m in map(int, a.m.split(",")):
            x, dy = torch.randn(m, k).to(dt), torch.randn(m, n).to(dt)
            fn = {"fwd": lambda: torch.nn.functional.linear(x, w), "dx": lambda: dy @ w, "dw": lambda: dy.t() @ x}[a.op]
            s = measure(fn)
            g = [2e-9 * m * k * n / t for t in (s[len(s) // 2], s[0], s[-1])]
            print(f"{a.op:8s} {m:5d} {k:5d}x{n:<6d} {g[0]:8.1f}  {g[1]:8.1f} {g[2]:8.1f}", flush=True)
