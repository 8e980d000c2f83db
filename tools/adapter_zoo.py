"""Random LoRA adapters made with peft on checkpoints of model_zoo (development only)."""
import torch
from peft import LoraConfig, get_peft_model

MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def adapt(model, seed=0, score=False, **config):
    """A PeftModel whose A, B (and score head) are random. `model` is taken over."""
    model = get_peft_model(model, LoraConfig(task_type="SEQ_CLS" if score else "CAUSAL_LM", **config)).eval()
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.requires_grad:
                p.copy_(0.4 * torch.randn(p.shape, generator=g))
    return model


def saved_name(name):
    """A parameter's name in adapter_model.safetensors."""
    return name.replace(".default", "").replace(".modules_to_save", "")
