"""Random LoRA adapters made with peft on checkpoints of model_zoo (development only)."""
import torch
from peft import LoraConfig, get_peft_model

MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def adapt(model, seed=0, score=False, **config):
    """A PeftModel whose A, B (and score head) are random, its changes half as large as model_zoo's weights. `model`
    is taken over."""
    r, alpha = config["r"], config["lora_alpha"]
    scale = alpha / r ** 0.5 if config.get("use_rslora") else alpha / r
    model = get_peft_model(model, LoraConfig(task_type="SEQ_CLS" if score else "CAUSAL_LM", **config)).eval()
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.requires_grad:
                size = 0.5 / scale / r ** 0.5 if "lora_B" in name else p.shape[-1] ** -0.5
                p.copy_(size * torch.randn(p.shape, generator=g))
    return model


def saved_name(name):
    """A parameter's name in adapter_model.safetensors."""
    return name.replace(".default", "").replace(".modules_to_save", "")
