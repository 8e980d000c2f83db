#!/usr/bin/env python3
"""Goldens of the model room, from transformers: tests/golden/{desc,rope}.json and tests/golden/models/*.

Needs torch and transformers (5.23 was used). Run from the source root. Everything is seeded; rerunning
gives the same files."""
import copy
import json
import math
import pathlib
import shutil
import warnings

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, logging
from transformers import LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

logging.set_verbosity_error()
warnings.filterwarnings("ignore")
OUT = pathlib.Path("tests/golden")
CLASSES = {"llama": LlamaConfig, "mistral": MistralConfig, "qwen2": Qwen2Config, "qwen3": Qwen3Config}

BASE = dict(vocab_size=64, hidden_size=48, intermediate_size=80, num_hidden_layers=4, num_attention_heads=6)


def dump(name, cases):
    text = ",\n".join(json.dumps(c) for c in cases)
    (OUT / name).write_text("[\n" + text + "\n]\n")


def f32_hex(t):
    """Values as float.hex of their float32: exact, and short for a JSON file."""
    return [float(v).hex() for v in t.flatten().tolist()]


# ---------------- config.json -> what transformers makes of it ----------------

def biases(model_type, c):
    if model_type == "llama":
        return c.attention_bias, c.attention_bias, c.mlp_bias
    if model_type == "qwen2":
        return True, False, False
    if model_type == "qwen3":
        return c.attention_bias, c.attention_bias, False
    return False, False, False


def windows(model_type, c):
    n = c.num_hidden_layers
    if model_type == "llama":
        return [0] * n
    if model_type == "mistral":
        return [c.sliding_window or 0] * n
    return [(c.sliding_window or 0) if t == "sliding_attention" else 0 for t in c.layer_types]


def expect(config):
    c = CLASSES[config["model_type"]].from_dict(copy.deepcopy(config))
    t = config["model_type"]
    c.standardize_rope_params()  # as the functions of modeling_rope_utils do before they compute
    r = c.rope_parameters
    head_dim = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    qkv, o, mlp = biases(t, c)
    eos = c.eos_token_id
    cls = (config.get("architectures") or ["ForCausalLM"])[0].endswith("ForSequenceClassification")
    return dict(vocab=c.vocab_size, hidden=c.hidden_size, layers=c.num_hidden_layers, heads=c.num_attention_heads,
                kv_heads=c.num_key_value_heads, head_dim=head_dim, ffn=c.intermediate_size,
                max_pos=c.max_position_embeddings, norm_eps=c.rms_norm_eps, tied=c.tie_word_embeddings,
                qkv_bias=qkv, o_bias=o, mlp_bias=mlp, windows=windows(t, c), rope_type=r["rope_type"],
                rope_theta=r["rope_theta"], rope_factor=r.get("factor"),
                original_max=r.get("original_max_position_embeddings"),
                num_labels=c.num_labels if cls else 0, bos=c.bos_token_id, pad=c.pad_token_id,
                eos=eos if isinstance(eos, list) else [] if eos is None else [eos])


def desc_cases():
    def case(name, model_type, drop=(), **over):
        config = copy.deepcopy(dict(BASE, model_type=model_type, **over))
        for key in drop:
            del config[key]
        return dict(id=name, config=config, expect=expect(config))

    llama3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                  original_max_position_embeddings=256)
    yarn = dict(type="yarn", factor=4.0, original_max_position_embeddings=128)
    long_ = dict(type="longrope", short_factor=[1.0, 1.1, 1.2, 1.3], long_factor=[2.0, 3.0, 4.0, 5.0])
    return [
        case("llama-defaults", "llama"),
        case("llama-kv-null", "llama", num_key_value_heads=None, head_dim=None, pad_token_id=None),
        case("llama-gqa", "llama", num_key_value_heads=2, head_dim=10, tie_word_embeddings=True, rms_norm_eps=1e-5),
        case("llama-bias", "llama", attention_bias=True, mlp_bias=True, eos_token_id=[5, 6, 7], bos_token_id=None),
        case("llama-theta", "llama", rope_theta=500000.0, rope_scaling=None, eos_token_id=None),
        case("llama-rope-parameters", "llama", rope_parameters=dict(rope_type="default", rope_theta=12345.0)),
        case("llama-rope-both", "llama", rope_theta=7.0e5, rope_scaling=dict(type="linear", factor=2.0),
             rope_parameters=dict(rope_type="default", rope_theta=12345.0)),
        case("llama-rope-empty", "llama", rope_scaling={}, rope_parameters=dict(rope_type="default", rope_theta=99.0)),
        case("llama-llama3", "llama", rope_theta=500000.0, rope_scaling=llama3, max_position_embeddings=2048),
        case("llama-llama3-v5", "llama", rope_parameters=dict(llama3, rope_theta=500000.0)),
        case("llama-dynamic", "llama", rope_scaling=dict(type="dynamic", factor=3.0), max_position_embeddings=512),
        case("llama-yarn", "llama", rope_scaling=yarn, max_position_embeddings=512),
        case("llama-yarn-top", "llama", rope_scaling=yarn, original_max_position_embeddings=64),
        case("llama-yarn-own", "llama", rope_scaling=dict(rope_type="yarn", factor=2.0), max_position_embeddings=777),
        case("llama-longrope", "llama", rope_scaling=long_, original_max_position_embeddings=128,
             max_position_embeddings=512, head_dim=8),
        case("llama-partial-ignored", "llama", partial_rotary_factor=0.5),
        case("llama-window-ignored", "llama", sliding_window=16),
        case("llama-score", "llama", architectures=["LlamaForSequenceClassification"], id2label={"0": "LABEL_0"}),
        case("llama-score-two", "llama", architectures=["LlamaForSequenceClassification"]),
        case("llama-score-num", "llama", architectures=["LlamaForSequenceClassification"], num_labels=3),
        case("mistral-defaults", "mistral", num_attention_heads=8),
        case("mistral-null", "mistral", num_key_value_heads=2, sliding_window=None),
        case("mistral-window", "mistral", num_key_value_heads=3, sliding_window=7, head_dim=16,
             attention_bias=True, layer_types=["full_attention"] * 4),
        case("qwen2-defaults", "qwen2", num_attention_heads=32, hidden_size=64),
        case("qwen2-dead-window", "qwen2", num_key_value_heads=2, sliding_window=9, max_window_layers=0),
        case("qwen2-window", "qwen2", num_key_value_heads=2, use_sliding_window=True, sliding_window=9,
             max_window_layers=1),
        case("qwen2-window-default", "qwen2", num_key_value_heads=2, use_sliding_window=True),
        case("qwen2-window-null", "qwen2", num_key_value_heads=2, use_sliding_window=True, sliding_window=None),
        case("qwen2-layer-types", "qwen2", num_key_value_heads=2, use_sliding_window=True, sliding_window=5,
             layer_types=["sliding_attention", "full_attention", "sliding_attention", "full_attention"]),
        case("qwen2-tied", "qwen2", num_key_value_heads=6, tie_word_embeddings=True, rope_theta=1000000.0,
             attention_bias=False, bos_token_id=3, eos_token_id=4),
        case("qwen3-defaults", "qwen3", num_attention_heads=32),
        case("qwen3-bias", "qwen3", num_key_value_heads=3, attention_bias=True, head_dim=12, mlp_bias=True),
        case("qwen3-window", "qwen3", num_key_value_heads=3, use_sliding_window=True, sliding_window=5,
             max_window_layers=2, head_dim=4),
    ]


# ---------------- rotary tables ----------------

def rope_case(name, positions, seq_len=None, head_dim=32, max_pos=2048, part=None, **params):
    seq_len = seq_len or max(positions) + 1
    config = LlamaConfig(hidden_size=head_dim * 2, num_attention_heads=2, head_dim=head_dim,
                         max_position_embeddings=max_pos, rope_parameters=dict(params))
    stored = json.loads(config.to_json_string())["rope_parameters"]
    if part is None:
        emb = LlamaRotaryEmbedding(config)
        if seq_len - 1 not in positions and params["rope_type"] == "longrope":
            positions = positions + [seq_len - 1]
        cos, sin = emb(torch.zeros(1), torch.tensor([positions]))
        inv = emb.inv_freq
    else:  # the families here rotate whole heads; the formulas do not care
        config.rope_parameters["partial_rotary_factor"] = part
        inv, scale = ROPE_INIT_FUNCTIONS[params["rope_type"]](config)
        angle = torch.tensor(positions)[:, None].float() * inv
        cos, sin = (angle.cos() * scale)[None], (angle.sin() * scale)[None]
    half = inv.numel()
    return dict(id=name, head_dim=head_dim, rot_dim=2 * half, max_pos=max_pos, seq_len=seq_len, rope=stored,
                positions=positions, inv_freq=f32_hex(inv), cos=f32_hex(cos[0, :, :half]), sin=f32_hex(sin[0, :, :half]))


def rope_cases():
    p = [0, 1, 2, 31, 500]
    ramp = lambda n, a, b: [a + (b - a) * i / (n - 1) for i in range(n)]
    return [
        rope_case("default", p, rope_type="default", rope_theta=10000.0),
        rope_case("default-theta", p, rope_type="default", rope_theta=1000000.0, head_dim=12),
        rope_case("default-far", [4000, 131071], rope_type="default", rope_theta=500000.0, max_pos=131072, head_dim=16),
        rope_case("linear", p, rope_type="linear", rope_theta=10000.0, factor=4.0, head_dim=24),
        rope_case("linear-odd-factor", p, rope_type="linear", rope_theta=30000.0, factor=2.7, head_dim=8),
        rope_case("linear-part", p, rope_type="linear", rope_theta=10000.0, factor=2.0, part=0.5),
        rope_case("dynamic", p, rope_type="dynamic", rope_theta=10000.0, factor=2.5, max_pos=512),
        rope_case("llama3", p, rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0,
                  high_freq_factor=4.0, original_max_position_embeddings=512, head_dim=64),
        rope_case("llama3-narrow", p, rope_type="llama3", rope_theta=10000.0, factor=32.0, low_freq_factor=2.0,
                  high_freq_factor=2.5, original_max_position_embeddings=128, head_dim=20),
        rope_case("yarn", p, rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=512,
                  head_dim=64),
        rope_case("yarn-betas", p, rope_type="yarn", rope_theta=150000.0, factor=32.0, beta_fast=24.0, beta_slow=2.0,
                  original_max_position_embeddings=256, truncate=False),
        rope_case("yarn-mscale", p, rope_type="yarn", rope_theta=10000.0, factor=16.0, mscale=0.707,
                  mscale_all_dim=0.5, original_max_position_embeddings=128, head_dim=16),
        rope_case("yarn-attention", p, rope_type="yarn", rope_theta=10000.0, factor=16.0, attention_factor=1.25,
                  original_max_position_embeddings=128, head_dim=16),
        rope_case("yarn-part", p, rope_type="yarn", rope_theta=10000.0, factor=4.0,
                  original_max_position_embeddings=512, head_dim=40, part=0.4),
        rope_case("longrope-short", p[:4], rope_type="longrope", rope_theta=10000.0, factor=8.0,
                  original_max_position_embeddings=128, max_pos=1024, short_factor=ramp(16, 1, 1.5),
                  long_factor=ramp(16, 1, 40)),
        rope_case("longrope-long", p, rope_type="longrope", rope_theta=10000.0, factor=8.0,
                  original_max_position_embeddings=128, max_pos=1024, short_factor=ramp(16, 1, 1.5),
                  long_factor=ramp(16, 1, 40)),
        rope_case("longrope-ratio", p, rope_type="longrope", rope_theta=10000.0, max_pos=1024,
                  original_max_position_embeddings=64, short_factor=ramp(4, 1, 2), long_factor=ramp(4, 2, 9),
                  head_dim=8),
    ]


# ---------------- tiny checkpoints ----------------

def tiny_models():
    small = dict(vocab_size=61, hidden_size=20, intermediate_size=28, num_hidden_layers=2, max_position_embeddings=64,
                 initializer_range=0.3)
    lm, cls = AutoModelForCausalLM, AutoModelForSequenceClassification
    return [
        ("llama", lm, torch.bfloat16, "5KB", LlamaConfig(num_attention_heads=5, num_key_value_heads=1, head_dim=6,
         attention_bias=True, mlp_bias=True, rope_parameters=dict(rope_type="llama3", rope_theta=500.0, factor=2.0,
         low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16), **small)),
        ("mistral-score", cls, torch.float32, "5GB", MistralConfig(num_attention_heads=5, num_key_value_heads=5,
         sliding_window=4, num_labels=1, pad_token_id=0, **small)),
        ("qwen2", lm, torch.float16, "5GB", Qwen2Config(num_attention_heads=10, num_key_value_heads=2,
         tie_word_embeddings=True, use_sliding_window=True, sliding_window=5, max_window_layers=1, **small)),
        ("qwen3", lm, torch.bfloat16, "5GB", Qwen3Config(num_attention_heads=4, num_key_value_heads=2, head_dim=8, **small)),
    ]


def dump_models():
    root = OUT / "models"
    shutil.rmtree(root, ignore_errors=True)
    cases = []
    for i, (name, cls, dtype, shard, config) in enumerate(tiny_models()):
        torch.manual_seed(1000 + i)
        model = cls.from_config(config)
        with torch.no_grad():
            for key, p in model.named_parameters():  # nothing stays at 0 or 1
                if p.dim() == 1:
                    p.copy_(torch.randn_like(p) * 0.2 + (1 if "norm" in key else 0))
        model = model.to(dtype)
        model.save_pretrained(root / name, max_shard_size=shard)
        model = cls.from_pretrained(root / name, dtype=torch.float64).eval()
        ids = torch.randint(1, 61, (1, 24), generator=torch.Generator().manual_seed(i))
        logits = model(ids).logits[0].detach()
        sums = {k: [float(v.double().sum()), float((v.double() ** 2).sum())] for k, v in model.state_dict().items()}
        keep = logits if logits.dim() == 1 else logits[[0, 5, 23]]
        cases.append(dict(id=name, ids=ids[0].tolist(), rows=[0, 5, 23] if logits.dim() == 2 else [23],
                          logits=[[round(x, 10) for x in row] for row in keep.reshape(-1, keep.shape[-1]).tolist()],
                          sums=sums))
    dump("models.json", cases)


if __name__ == "__main__":
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    dump("desc.json", desc_cases())
    dump("rope.json", rope_cases())
    dump_models()
