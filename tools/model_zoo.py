"""Random checkpoints of the families that tenet reads, made with transformers (development only).

make(spec) gives a model whose every parameter is random: norms around 1, biases not zero, weights
large enough for attention to be far from uniform.
"""
import torch
import transformers as tf

CONFIG = {"llama": tf.LlamaConfig, "mistral": tf.MistralConfig, "qwen2": tf.Qwen2Config, "qwen3": tf.Qwen3Config}
CAUSAL = {"llama": tf.LlamaForCausalLM, "mistral": tf.MistralForCausalLM, "qwen2": tf.Qwen2ForCausalLM,
          "qwen3": tf.Qwen3ForCausalLM}
SCORE = {"llama": tf.LlamaForSequenceClassification, "mistral": tf.MistralForSequenceClassification,
         "qwen2": tf.Qwen2ForSequenceClassification, "qwen3": tf.Qwen3ForSequenceClassification}


def rope(kind, head_dim, original=64, theta=10000.0, **more):
    """rope_parameters of transformers 5."""
    half = head_dim // 2
    p = {"rope_type": kind, "rope_theta": theta}
    if kind == "linear":
        p.update(factor=3.0)
    elif kind == "dynamic":
        p.update(factor=2.0)
    elif kind == "llama3":
        p.update(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=original)
    elif kind == "yarn":
        p.update(factor=4.0, original_max_position_embeddings=original)
    elif kind == "longrope":
        p.update(short_factor=[1.0 + 0.01 * i for i in range(half)], long_factor=[1.5 + 0.3 * i for i in range(half)],
                 original_max_position_embeddings=original, factor=4.0)
    p.update(more)
    return p


def make(spec, seed=0):
    """spec: {"family": name, "score": bool, ...fields of the config}. In float32."""
    spec = dict(spec)
    family, score = spec.pop("family"), spec.pop("score", False)
    scale = spec.pop("scale", 1.0)
    if score:
        spec["num_labels"] = 1
        spec.setdefault("pad_token_id", 0)
    config = CONFIG[family](**spec)
    config._attn_implementation = "eager"
    torch.manual_seed(seed)
    model = (SCORE if score else CAUSAL)[family](config).float().eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name:
                p.copy_(1 + 0.3 * torch.randn_like(p))
            elif p.dim() == 1:
                p.copy_(0.3 * torch.randn_like(p))
            else:
                p.copy_(scale * torch.randn_like(p) / p.shape[-1] ** 0.5)
    return model


def forward_backward(model, rows, grads=True):
    """Logits of every row and the gradient of the mean NLL over all tokens after the first of all rows."""
    model.zero_grad()
    logits, total = [], sum(len(r) - 1 for r in rows)
    loss = 0.0
    for r in rows:
        ids = torch.tensor([r])
        with torch.set_grad_enabled(grads):
            z = model(input_ids=ids, use_cache=False).logits[0]
            nll = torch.nn.functional.cross_entropy(z[:-1], ids[0, 1:], reduction="sum") / total
        if grads:
            nll.backward()
        loss += float(nll.detach())
        logits.append(z.detach())
    g = {n: p.grad.detach().clone() for n, p in model.named_parameters() if p.requires_grad} if grads else {}
    return logits, loss, g
