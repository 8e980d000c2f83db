"""The others: PyTorch, transformers and TRL, measured on request by bench (bench/main.c). Development only.

  peers.py serve THREADS                      answers requests on standard input, one JSON object a line
  peers.py trl THREADS METHOD MODEL ROWS STEPS REWARD_MODEL RESULT MARK
                                              one run of TRL; writes seconds and tokens of each step to RESULT and
                                              creates MARK when training begins

Requests ("do"), each answered by {"value": seconds} or {"error": text}:
  gemm      kind, dtype, m, in, out           one product: torch's `linear`, or a product of its backward
  products  list of [kind, rows, in, out]     all of them back to back, in bfloat16
  step      model, rows, batch, step          one step of a bare loop; also "tokens", without padding
  generate  model, ids, new                   `new` tokens for each prompt after the first
  llama     file, prompt, new                 llama.cpp: the same for one prompt
"""
import json, os, sys, time

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
import torch

MAX_LENGTH = 512  # of a row in tokens, as in bench.h


# ---- products ----

def seconds(fn, least=0.02):
    """Of one call: as many as fill `least` seconds, as bench_seconds does."""
    calls = 1
    while True:
        t0 = time.perf_counter()
        for _ in range(calls):
            fn()
        t = time.perf_counter() - t0
        if t >= least:
            return t / calls
        calls = int(calls * least * 1.25 / t) + 1 if t > least / 10 else calls * 8


def product(kind, x, w, dy):
    if kind == "forward":
        return lambda: torch.nn.functional.linear(x, w)
    return (lambda: dy @ w) if kind == "dX" else (lambda: dy.t() @ x)


class Products:
    """Tensors of the last request, kept: requests come in repeats."""

    def __init__(self):
        self.key = None

    def prepare(self, calls, dtype):
        key = (json.dumps(calls), dtype)
        if key == self.key:
            return False
        self.key, self.fns, shared = key, [], {}
        def random(name, *shape):  # activations are shared by shape, as a caching allocator's are
            if (name, shape) not in shared:
                shared[name, shape] = torch.randn(*shape, dtype=torch.float32).to(dtype)
            return shared[name, shape]
        for kind, m, n_in, n_out in calls:
            w = torch.randn(n_out, n_in).to(dtype) if kind != "dW" else None
            self.fns.append(product(kind, random("x", m, n_in), w, random("dy", m, n_out)))
        return True

    @torch.no_grad()
    def gemm(self, q):
        self.prepare([[q["kind"], q["m"], q["in"], q["out"]]], getattr(torch, q["dtype"]))
        return {"value": seconds(self.fns[0])}

    @torch.no_grad()
    def products(self, q):
        fresh = self.prepare(q["list"], torch.bfloat16)
        for _ in range(1 + fresh):
            t0 = time.perf_counter()
            for fn in self.fns:
                fn()
            t = time.perf_counter() - t0
        return {"value": t}


# ---- transformers ----

class Model:
    def __init__(self):
        self.folder = self.rows_file = None

    def load(self, folder):
        if folder == self.folder:
            return
        from transformers import AutoModelForCausalLM, AutoTokenizer
        self.model = self.optimiser = None
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
        self.tok = AutoTokenizer.from_pretrained(folder)
        self.folder, self.rows_file = folder, None

    def batch(self, rows_file, n, step):
        if rows_file != self.rows_file:
            texts = [self.tok.apply_chat_template(json.loads(line)["messages"], tokenize=False)
                     for line in open(rows_file).readlines()[:400]]
            self.rows = [self.tok(t, add_special_tokens=False)["input_ids"][:MAX_LENGTH] for t in texts]
            self.rows_file = rows_file
        rows = [self.rows[(step * n + i) % len(self.rows)] for i in range(n)]
        longest = max(map(len, rows))
        ids = torch.tensor([r + [0] * (longest - len(r)) for r in rows])
        mask = torch.tensor([[1] * len(r) + [0] * (longest - len(r)) for r in rows])
        return ids, mask

    def step(self, q):
        self.load(q["model"])
        self.model.train()
        if self.optimiser is None:
            self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=1e-5, weight_decay=0.0, fused=True)
        ids, mask = self.batch(q["rows"], q["batch"], q["step"])
        t0 = time.perf_counter()
        loss = self.model(input_ids=ids, attention_mask=mask, labels=ids.masked_fill(mask == 0, -100)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        return {"value": time.perf_counter() - t0, "tokens": int(mask.sum())}

    @torch.no_grad()
    def generate(self, q):
        self.load(q["model"])
        self.model.eval()
        ids, n, ends = torch.tensor(q["ids"]), 1 + q["new"], []
        def stamp(*a, **k):
            ends.append(time.perf_counter())
            return torch.zeros(len(ids), dtype=torch.bool)
        self.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=n, min_new_tokens=n, do_sample=True,
                            top_k=0, pad_token_id=0, stopping_criteria=[stamp])
        return {"value": ends[-1] - ends[0]}


def llama(q, kept={}):
    try:
        from llama_cpp import Llama
    except ImportError:
        return {"error": "llama.cpp (llama-cpp-python is not installed)"}
    if q["file"] not in kept:
        n = torch.get_num_threads()
        kept[q["file"]] = Llama(q["file"], n_ctx=1024, n_threads=n, n_threads_batch=n, verbose=False)
    m = kept[q["file"]]
    m.reset()
    m.eval(list(range(100, 100 + q["prompt"])))
    t0 = time.perf_counter()
    for _ in range(q["new"]):
        m.eval([m.sample(temp=1.0)])
    return {"value": time.perf_counter() - t0}


def serve():
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print is no answer
    products, model = Products(), Model()
    does = {"gemm": products.gemm, "products": products.products, "step": model.step, "generate": model.generate,
            "llama": llama}
    for line in sys.stdin:
        q = json.loads(line)
        try:
            reply = does[q["do"]](q)
        except Exception as e:  # the reason goes into the results
            reply = {"error": f"{q['do']}: {type(e).__name__}: {e}"[:300]}
        out.write(json.dumps(reply) + "\n")
        out.flush()


# ---- TRL ----

def watch(mark):
    """A callback with the seconds from the end of one step to the end of the next."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        seconds = []

        def on_train_begin(self, *a, **k):
            open(mark, "w").close()
            self.last = time.perf_counter()

        def on_step_end(self, *a, **k):
            now = time.perf_counter()
            self.seconds.append(now - self.last)
            self.last = now

    return Watch()


def trl_trainer(method, model, rows, steps, reward, watcher):
    from datasets import Dataset
    import trl
    n = {"sft": 8, "dpo": 4, "reward": 4, "grpo": 16, "rloo": 16}[method]
    common = dict(output_dir=os.path.join(os.path.dirname(rows), "trl-out"), max_steps=steps, use_cpu=True, bf16=True,
                  report_to=[], save_strategy="no", logging_steps=1, learning_rate=1e-5, gradient_checkpointing=False,
                  disable_tqdm=True, per_device_train_batch_size=n)
    data = Dataset.from_list([json.loads(line) for line in open(rows).readlines()[:400]])
    if method in ("grpo", "rloo"):
        config = (trl.GRPOConfig if method == "grpo" else trl.RLOOConfig)(num_generations=8, max_completion_length=64,
                                                                          beta=0.05, **common)
        return (trl.GRPOTrainer if method == "grpo" else trl.RLOOTrainer)(model, reward_funcs=reward, args=config,
                                                                          train_dataset=data, callbacks=[watcher])
    config, trainer = {"sft": (trl.SFTConfig, trl.SFTTrainer), "dpo": (trl.DPOConfig, trl.DPOTrainer),
                       "reward": (trl.RewardConfig, trl.RewardTrainer)}[method]
    args = config(max_length=MAX_LENGTH, train_sampling_strategy="sequential", **common)
    return trainer(model, args=args, train_dataset=data, callbacks=[watcher])


def trl_ppo(model, rows, steps, reward, watcher):
    """TRL 0.19.1: policy, reference, reward model and a value model of the same shape."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
    from trl import PPOConfig, PPOTrainer
    tok = AutoTokenizer.from_pretrained(model, padding_side="left")
    if tok.pad_token is None:
        tok.pad_token = tok.eos_token
    prompts = [json.loads(line)["prompt"] for line in open(rows).readlines()[:400]]
    data = Dataset.from_list([{"input_ids": tok.apply_chat_template(p, add_generation_prompt=True)} for p in prompts])
    args = PPOConfig(output_dir=os.path.join(os.path.dirname(rows), "trl-out"), total_episodes=16 * steps,
                     per_device_train_batch_size=16, gradient_accumulation_steps=1, num_mini_batches=1, num_ppo_epochs=4,
                     response_length=64, use_cpu=True, bf16=True, report_to=[], save_strategy="no", logging_steps=1,
                     learning_rate=1e-5, num_sample_generations=0, missing_eos_penalty=1.0,
                     local_rollout_forward_batch_size=16, disable_tqdm=True)
    language = AutoModelForCausalLM.from_pretrained
    score = lambda: AutoModelForSequenceClassification.from_pretrained(reward, num_labels=1)
    return PPOTrainer(args=args, processing_class=tok, model=language(model), ref_model=language(model),
                      reward_model=score(), value_model=score(), train_dataset=data, eval_dataset=data.select(range(16)),
                      callbacks=[watcher])


def trl(method, model, rows, steps, reward, result, mark):
    watcher = watch(mark)
    make = trl_ppo if method == "ppo" else lambda *a: trl_trainer(method, *a)
    trainer = make(model, rows, int(steps), reward, watcher)
    trainer.train()
    total = [h["num_tokens"] for h in trainer.state.log_history if "num_tokens" in h][:int(steps)]
    tokens = [b - a for a, b in zip([0] + total, total)]
    json.dump({"seconds": watcher.seconds, "tokens": tokens}, open(result, "w"))


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[2]))
    torch.manual_seed(0)
    serve() if sys.argv[1] == "serve" else trl(*sys.argv[3:])
