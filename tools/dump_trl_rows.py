"""Writes tests/golden/rows.json: rows as TRL's SFTTrainer prepares them (development only).

    python tools/dump_trl_rows.py TOKENIZERS tests/golden/rows.json

TOKENIZERS holds folders of tokenizer files; the golden file names the folder and has ids and mask only.
"""
import json
import sys

import transformers as tf
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

PAIRS = [
    {"prompt": "The capital of France is", "completion": " Paris."},
    {"prompt": "Once upon a ti", "completion": "me there was a fox"},
    {"prompt": "2 + 2 = ", "completion": "4"},
    {"prompt": "line\n", "completion": "\nnext line  "},
    {"prompt": "na\u00efve caf\u00e9 ", "completion": "\u4f60\u597d \U0001f600!"},
    {"prompt": "Q: why?\nA:", "completion": ""},
]
CHATS = [
    {"prompt": [{"role": "user", "content": "Hi there"}], "completion": [{"role": "assistant", "content": "Hello!"}]},
    {"prompt": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
                {"role": "user", "content": "c\nd"}],
     "completion": [{"role": "assistant", "content": "e  f\n"}]},
]
MESSAGES = [
    {"messages": [{"role": "user", "content": "Hi there"}, {"role": "assistant", "content": "Hello!"}]},
    {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1+1?"},
                  {"role": "assistant", "content": "2"}, {"role": "user", "content": "And 2+2?"},
                  {"role": "assistant", "content": "4, of course."}]},
]


def prepare(tok, rows, **how):
    config = tf.LlamaConfig(vocab_size=len(tok) + 8, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                            num_attention_heads=1)
    args = SFTConfig(output_dir="/tmp/trl-rows", report_to="none", max_length=None, bf16=False, use_cpu=True,
                     gradient_checkpointing=False, **how)
    t = SFTTrainer(model=tf.LlamaForCausalLM(config), args=args, processing_class=tok,
                   train_dataset=Dataset.from_list(rows))
    return [dict(row=row, ids=x["input_ids"], mask=[int(v != -100) for v in x["labels"]])
            for row, x in zip(rows, t.train_dataset)]


# The checkpoint's ChatML with the marks that TRL's assistant mask needs, around content and end of turn.
MARKED = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}"
    "{% endif %}{{ '<|im_start|>' + message['role'] + '\n' }}{% if message['role'] == 'assistant' %}{% generation %}"
    "{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}{% else %}"
    "{{ message['content'] + '<|im_end|>' + '\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")


def main(folder, out):
    tok = tf.AutoTokenizer.from_pretrained(folder + "/smollm2")
    cases = [dict(tokenizer="smollm2", rows=prepare(tok, PAIRS)), dict(tokenizer="smollm2", rows=prepare(tok, CHATS))]
    tok.chat_template = MARKED
    cases.append(dict(tokenizer="smollm2", rows=prepare(tok, MESSAGES, assistant_only_loss=True)))
    with open(out, "w") as f:
        json.dump(cases, f, separators=(",", ":"))


if __name__ == "__main__":
    main(*sys.argv[1:])
