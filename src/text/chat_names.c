/* Chat templates by name, for checkpoints that carry none (--chat-template NAME). */
#include "text/chat.h"
#include <string.h>

#define ALTERNATE                                                                                  \
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"                               \
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') "   \
    "}}{% endif %}"

static const char chatml[] =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] "
    "+ '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

static const char llama2[] =
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}"
    "{% set system_message = false %}{% endif %}{% for message in loop_messages %}" ALTERNATE
    "{% if loop.index0 == 0 and system_message != false %}"
    "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% "
    "endif %}{% endfor %}";

static const char llama3[] = "{% set loop_messages = messages %}{% for message in loop_messages %}"
                             "{% set content = '<|start_header_id|>' + message['role'] + "
                             "'<|end_header_id|>\n\n' + message['content'] | trim + "
                             "'<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + "
                             "content %}{% endif %}{{ content }}{% endfor %}"
                             "{% if add_generation_prompt %}{{ "
                             "'<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}";

static const char zephyr[] =
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n"
    "{{ '<|user|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'system' %}\n"
    "{{ '<|system|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'assistant' "
    "%}\n"
    "{{ '<|assistant|>\n' + message['content'] + eos_token }}\n{% endif %}\n"
    "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor "
    "%}";

static const char mistral[] =
    "{{ bos_token }}{% for message in messages %}" ALTERNATE
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token }}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% "
    "endfor %}";

static const char world[] =
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ ' User: ' + message['content'] }}"
    "{% elif message['role'] == 'assistant' %}{{ ' Assistant: ' + message['content'] + ' <|end|>' "
    "}}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ ' Assistant:' }}{% endif %}";

const char *const tn_chat_names[] = {"chatml", "llama2", "llama3", "mistral",
                                     "world",  "zephyr", NULL};

const char *tn_chat_builtin(const char *name) {
    static const char *const texts[] = {chatml, llama2, llama3, mistral, world, zephyr};
    for (int k = 0; tn_chat_names[k]; k++)
        if (!strcmp(name, tn_chat_names[k])) return texts[k];
    return NULL;
}
