"""Chat goldens: what jinja2, set up as transformers sets it up, prints. Called by dump_text_goldens.py."""
import json
from transformers.utils.chat_template_utils import _compile_jinja_template



def speaker(role):
    return lambda content: {"role": role, "content": content}


U, A, S = speaker("user"), speaker("assistant"), speaker("system")

CHATS = [
    [U("Hi")], [U("Hi"), A("Hello!")], [S("Be brief."), U(" Hi \n"), A(" Hello\n\n"), U("More?")],
    [U("a"), A("b"), U("c"), A("d")], [A("first")], [U("x"), U("y")], [S("only")], [U(""), A("")],
    [U("漢字 🙂"), A("ünï\u00a0"), U("\"q\" \\ \t"), A("<think>\nhm\n</think>\n\nyes")], [U("u"), A("a"), S("late"), U("v")],
]

SMOL = ("{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful assistant<|im_end|>\n' }}"
        "{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
BLOCKS = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "<|im_end|>\\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nDefault.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}
            {{- '\\n' + message.content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' ~ message.content ~ '\\n</tool_response>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
THINK = """{%- set ns = namespace(last=-1) %}
{%- for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}
{%- for m in messages %}
    {%- set content = m.content %}
    {%- set reasoning = '' %}
    {%- if m.role == 'assistant' and '</think>' in content %}
        {%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
        {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
    {%- endif %}
    {%- if loop.index0 > ns.last and reasoning %}
        {{- '<|im_start|>' + m.role + '\\n<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
    {%- else %}
        {{- '<|im_start|>' + m.role + '\\n' + content }}
    {%- endif %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
"""
MARKED = """{%- for m in messages -%}
    {%- if m['role'] == 'assistant' -%}
        {{- '<start_of_turn>model\\n' -}}
        {% generation %}{{ m['content'] | trim }}<end_of_turn>
{% endgeneration %}
    {%- else -%}
        {{- '<start_of_turn>' + m['role'] + '\\n' + m['content'] | trim + '<end_of_turn>\\n' -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<start_of_turn>model\\n' -}}{%- endif -%}
"""
INDENTED = """{% if messages[0]['role'] == 'system' %}
    {% set system = messages[0]['content'] | trim + '\\n\\n' %}
    {% set messages = messages[1:] %}
{% else %}
    {% set system = '' %}
{% endif %}

{{ bos_token + system }}
{% for message in messages %}
    {% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{ raise_exception('roles must alternate') }}
    {% endif %}

    {% if message['role'] == 'user' %}
        {{ 'USER: ' + message['content'] | trim + '\\n' }}
    {% elif message['role'] == 'assistant' %}
        {{ 'ASSISTANT: ' + message['content'] | trim + eos_token + '\\n' }}
    {% endif %}
{% endfor %}

{% if add_generation_prompt %}
    {{ 'ASSISTANT:' }}
{% endif %}"""
MACRO = """{%- macro text(content, what='text') -%}
    {%- if content is string -%}{{- content -}}
    {%- else -%}{{- raise_exception('no ' + what) -}}{%- endif -%}
{%- endmacro -%}
{%- set ns = namespace(parts=[], n=0) -%}
{%- for m in messages -%}{%- if m.role == 'system' -%}{%- set ns.parts = ns.parts + [m.content] -%}{%- endif -%}{%- endfor -%}
{{- bos_token -}}
{%- for m in messages if m.role != 'system' -%}
    {%- if m.role == 'user' -%}{{- '[INST] ' -}}{%- if loop.last -%}{{- ns.parts | join('\\n\\n') -}}{%- endif -%}{{- text(m.content) + '[/INST]' -}}
    {%- else -%}{{- text(m['content'], what='answer') -}}{{- eos_token -}}{%- endif -%}
{%- endfor -%}"""
TEMPLATES = {"smol": SMOL, "blocks": BLOCKS, "think": THINK, "marked": MARKED, "indented": INDENTED, "macro": MACRO}

V = {"s": "Hello World", "e": "", "l": [3, 1, 2], "d": {"b": 1, "a": "x", "z": [1, {"q": None}]}, "n": 5, "f": 2.5, "t": True, "no": None,
     "u": "ünï 漢🙂", "ms": [{"role": "user", "content": "c1", "k": 2}, {"role": "tool", "content": "c2", "k": 1}], "ws": "  x y \n", "words": ["b", "A", "c"]}
SNIPPETS = [
    # white space
    "a\n{% if t %}\nb\n{% endif %}\nc\n", "a\n  {% if t %}\n  b\n  {% endif %}\n  c", "a\n  {%+ if t %}x{% endif %}", "a  {%- if t -%}  b  {%- endif -%}  c", "a {% if t +%}\nb{% endif %}",
    "{{ s }}\n{{ s }}\n", "  {{ s }}  ", "a {{- s -}} b", "a\n\n{#- c -#}\n\nb", "a\n  {# c #}\nb", "{# a #}\n\nb", "x{#+ #}\ny", "x\r\ny\rz\n\n", "{% raw %}{{ x }}{% endraw %}", "a\n {% raw -%}  {% if %} {%- endraw %}\n b",
    "\n{% for i in l %}\n  {{ i }}\n{% endfor %}\n", "{% set x = 1 %}  \n  {{ x }}", "{{ '\n' }}\n", "{% if t %}   {% endif %}|", "x {%- set y = 1 %}\n\n z", "{{ 1 }}\n\n", "{%if t%}a{%else%}b{%endif%}",
    "text { not { a % tag } %} }}", "a{{ '{{' }}b{{ '%}' }}", "{{ {'a': {'b': 1}}['a']['b'] }}", "{{ {'a':{}}}}", "a\n\t {% if t %} \n x{% endif %}", "\u00a0{% if t %}x{% endif %}", "a\n\u00a0{% if t %}x{% endif %}",
    # expressions
    "{{ 1 + 2 * 3 - 4 / 2 }}", "{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 % -3 }}", "{{ 2 ** 10 }} {{ 2 ** -1 }} {{ -2 ** 2 }}", "{{ 2 ** 3 ** 2 }}", "{{ 1.5 + 1 }} {{ 3.0 }} {{ 1e20 }} {{ 0.1 + 0.2 }} {{ 1e-7 }} {{ 123456789012345678.0 }} {{ 1e16 }} {{ 5e-324 }}",
    "{{ 'a' ~ 1 ~ none ~ true ~ 1.0 ~ [1] }}", "{{ 'a' + 'b' 'c' }}", "{{ 'ab' * 3 }} {{ [1] * 2 }} {{ 2 * 'x' }}", "{{ [1] + [2] }} {{ (1, 2) }} {{ (1,) }} {{ () }}", "{{ 1 if t }}|{{ 1 if not t }}|{{ 1 if e else 2 }}",
    "{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 }} {{ true == 1 }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }}", "{{ 1 in l }} {{ 9 not in l }} {{ 'ell' in s }} {{ 'a' in d }}", "{{ not t or t and not e }}", "{{ e or 'x' }} {{ s and n }} {{ none or false }}",
    "{{ l[0] }} {{ l[-1] }} {{ l[1:] }} {{ l[:-1] }} {{ l[::-1] }} {{ l[::2] }} {{ s[1:4] }} {{ s[::-1] }} {{ u[4] }} {{ u[-1] }} {{ u[2:5] }} {{ l[5:] }} {{ l[10] }}", "{{ d.a }} {{ d['a'] }} {{ d.z[1].q }} {{ d.nope }} {{ d['nope'] }}|", "{{ nope }}|{{ nope is defined }}",
    "{{ nope.x }}", "{{ nope['x'] }}", "{{ nope() }}", "{{ nope + 1 }}", "{{ 1 + 'a' }}", "{{ 'a' + 1 }}", "{{ 1 < 'a' }}", "{{ none + 1 }}", "{{ 1 / 0 }}", "{{ l.nope.x }}", "{% for x in nope %}x{% else %}none{% endfor %}", "{% for x in n %}x{% endfor %}", "{% for x in none %}{% endfor %}",
    "{{ True }} {{ False }} {{ None }} {{ true }} {{ none }}", "{{ -n }} {{ +n }} {{ - 3 | abs }} {{ (-3) | abs }}", "{{ 1_000 }} {{ 0x1F }} {{ 0b101 }} {{ 0o17 }}", r"{{ 'a\n\t\'\"\\\x41\u00e9\d' }}", '{{ "it\'s" }}', "{{ d }}", "{{ l }} {{ ['a', \"b'c\", 'é', '\n', none] }}", "{{ {'a': 1, 2: 'b'} }}",
    "{{ d.items() | list }}", "{{ d.keys() | list }} {{ d.values() | list }}", "{{ d.get('a') }} {{ d.get('q') }} {{ d.get('q', 7) }}", "{{ d | length }}", "{{ messages }}|", "{{ 'x' if nope is defined and nope.y else 'z' }}", "{{ n.nope }}|", "{{ (1, 2)[0] }}", "{{ l.0 }}", "{{ {}.x }}|",
    # statements
    "{% for i in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }} {% endfor %}", "{% for i in l %}{{ loop.previtem }}|{{ loop.nextitem }}|{{ loop.cycle('a', 'b') }};{% endfor %}", "{% for i in [] %}x{% else %}empty{% endfor %}",
    "{% for i in l if i > 1 %}{{ i }}{{ loop.index }}{{ loop.length }}{% endfor %}", "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k in d %}{{ k }}{% endfor %}", "{% for c in u %}{{ c }}.{% endfor %}", "{% for a, b in [(1, 2), [3, 4]] %}{{ a + b }} {% endfor %}", "{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% set x = 1 %}{% for i in l %}{{ x }}{% set x = x + i %}{{ x }} {% endfor %}{{ x }}", "{% set ns = namespace(x=1, y='a') %}{% for i in l %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}{{ ns.y }}{{ ns.q }}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set x %}text {{ n }}\n{% endset %}[{{ x }}]", "{% set x | upper | trim %} a {{ s }} {% endset %}[{{ x }}]",
    "{% if t %}{% set x = 1 %}{% endif %}{{ x }}", "{% if n > 3 %}a{% elif n > 4 %}b{% else %}c{% endif %}", "{% if e %}a{% elif l %}b{% endif %}", "{% macro m(a, b='d', c=n) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, 2) }} {{ m(c=3, a=1) }} {{ m() }}", "{% macro f(x) %}{% if x > 0 %}{{ x }}{{ f(x - 1) }}{% endif %}{% endmacro %}{{ f(3) }}",
    "{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}in{{ n }}{% endcall %}", "{% macro m() %}{{ caller(5) }}{% endmacro %}{% call(x) m() %}<{{ x }}>{% endcall %}", "{% filter upper %}abc {{ s }}{% endfilter %}", "{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a }}|", "{% for i in [[1, [2]], [3]] recursive %}{{ i if i is number else loop(i) }},{% endfor %}",
    "{% set l2 = l + [9] %}{{ l2 | length }}{{ l | length }}", "{% set d2 = dict(a=1, b=2) %}{{ d2 }}", "{{ range(3) | list }} {{ range(1, 4) | list }} {{ range(5, 0, -2) | list }}", "{{ raise_exception('no: ' + s) }}", "{% generation %}a{{ s }}{% endgeneration %}b", "{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}",
    "{% set ns = namespace() %}{% set ns.a = 1 %}{{ ns.a }}", "{% set d.x = 1 %}", "{% macro m(x) %}{{ y }}{{ x }}{% endmacro %}{% set y = 5 %}{{ m(1) }}", "{% for m in ms %}{{ m.role }}:{{ m['content'] }}{% if not loop.last %}, {% endif %}{% endfor %}", "{{ l.append(4) }}", "{{ d.update({'q': 1}) }}", "{% for i in l %}{% for j in l %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}",
    # filters
    "[{{ ws | trim }}] [{{ 'xxaxx' | trim('x') }}] {{ s | upper }} {{ s | lower }} {{ 'hELLO wORLD' | capitalize }} {{ 'hello big-world' | title }}", "{{ s | length }} {{ u | length }} {{ l | count }} {{ e | length }}", "{{ l | first }} {{ l | last }} {{ s | first }} {{ [] | first }}|", "{{ l | join(', ') }} {{ l | join }} {{ ms | join('-', attribute='role') }}", "{{ nope | default('x') }} {{ e | default('x') }}|{{ e | default('x', true) }} {{ no | default('q') }} {{ nope | d(3) }}",
    "{{ l | tojson }} {{ d | tojson }} {{ u | tojson }} {{ no | tojson }} {{ t | tojson }} {{ 1.0 | tojson }} {{ 'a\"\\\n\t/<>&\u2028' | tojson }}", "{{ d | tojson(indent=2) }}", "{{ u | tojson(ensure_ascii=true) }}", "{{ d | tojson(sort_keys=true, separators=(',', ':')) }}", "{{ [] | tojson(indent=4) }} {{ {} | tojson(indent=4) }}", "{{ nope | tojson }}",
    "{{ n | string + 'x' }} {{ '12' | int + 1 }} {{ 'x' | int }} {{ 'x' | int(9) }} {{ '1.5' | float }} {{ 3.9 | int }} {{ ' 7 ' | int }} {{ '3.7' | int }}", "{{ l | sort }} {{ l | sort(reverse=true) }} {{ words | sort }} {{ words | sort(case_sensitive=true) }} {{ ms | sort(attribute='k') | map(attribute='role') | list }}", "{{ l | reverse | list }} {{ s | reverse }}", "{{ [1, 2, 1, 'a', 'A'] | unique | list }}",
    "{{ ms | map(attribute='role') | join(',') }} {{ words | map('upper') | list }}", "{{ ms | selectattr('role', 'equalto', 'user') | list | length }} {{ ms | rejectattr('role', 'eq', 'user') | map(attribute='content') | first }} {{ l | select('gt', 1) | list }} {{ l | reject('odd') | list }} {{ ms | selectattr('k') | list | length }}", "{{ l | sum }} {{ l | min }} {{ l | max }} {{ ms | sum(attribute='k') }}",
    "{{ s | replace('l', 'L') }} {{ s | replace('l', 'L', 1) }}", "{{ {'b': 1, 'a': 2, 'C': 0} | dictsort }}", "{{ d | items | list }}", "{{ 'a\nb\n\nc' | indent }}|{{ 'a\nb' | indent(2, true) }}", "{{ 2.5 | round }} {{ 3.14159 | round(2) }} {{ 3.5 | round | int }}", "{{ -3 | abs }} {{ 'abc' | list }}", "{{ s | safe }} {{ '<' | safe }}", "{{ 'a' | nosuchfilter }}",
    "{{ '<b>' + ('x' | safe) }}", "{{ ('x' | safe) + '&' }} {{ ('x' | safe) ~ '&' }}",
    # tests
    "{{ s is string }} {{ n is string }} {{ n is number }} {{ n is integer }} {{ f is float }} {{ t is boolean }} {{ l is iterable }} {{ s is iterable }} {{ l is sequence }} {{ d is mapping }} {{ l is mapping }} {{ no is none }} {{ n is iterable }}", "{{ n is odd }} {{ n is even }} {{ n is divisibleby 5 }} {{ n is divisibleby(3) }} {{ n is eq 5 }} {{ n is gt(4) }} {{ 1 is in l }}", "{{ nope is undefined }} {{ nope is not defined }} {{ s is not none }} {{ t is true }} {{ t is false }} {{ 1 is true }}",
    "{{ 'AB' is upper }} {{ 'ab' is lower }} {{ 'aB' is lower }}", "{{ t is sameas true }} {{ n is callable }}", "{{ not n is string }} {{ n is defined and n is number }}", "{{ n is nosuchtest }}",
    # methods
    "{{ ws.strip() }}|{{ ws.lstrip() }}|{{ ws.rstrip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'abcba'.lstrip('ab') }}", "{{ s.split() }} {{ s.split('o') }} {{ s.split('o', 1) }} {{ 'a,b,,c'.split(',') }} {{ ' a  b '.split() }} {{ ' a  b c '.split(none, 1) }} {{ ''.split() }} {{ ''.split(',') }}", "{{ 'a.b.c'.rsplit('.', 1) }} {{ 'a\nb\r\nc'.splitlines() }}", "{{ s.startswith('He') }} {{ s.endswith('x') }} {{ s.startswith(('a', 'H')) }} {{ s.endswith('') }}",
    "{{ s.replace('o', '0') }} {{ s.replace('o', '0', 1) }} {{ 'ab'.replace('', '-') }}", "{{ s.upper() }} {{ s.lower() }} {{ 'abc def'.title() }} {{ 'aBC'.capitalize() }}", "{{ ','.join(['a', 'b']) }} {{ ''.join([]) }}", "{{ s.find('o') }} {{ s.find('q') }} {{ s.rfind('o') }} {{ s.count('l') }} {{ u.find('漢') }} {{ s.index('W') }}", "{{ 'xay'.removeprefix('x').removesuffix('y') }}", "{{ '123'.isdigit() }} {{ 'a1'.isdigit() }} {{ ' '.isspace() }}", "{{ s.nosuch() }}", "{{ ('a' ~ 'b').upper()[0] }}",
    "{{ ms[0].get('role') }} {{ ms[0]['nope'] is defined }} {{ ms[-1].role }}", "{{ l.index(1) }} {{ l.count(2) }}", "{{ 'ß'.upper() }} {{ 'ÉCOLE'.lower() }}",
    # mistakes
    "{% if %}", "{% endif %}", "{% if t %}", "{{ 1 +", "{{ }}", "{% for x %}{% endfor %}", "{{ 'abc }}", "{% nosuch %}", "{{ a b }}", "{{ (1 }}", "{% set 1 = 2 %}", "{{ [1, }}", "{% for i in l %}", "{{ s[ }}", "{% macro %}{% endmacro %}", "{# open", "{{ s | }}", "{{ 1 is }}", "{% if t %}{% endfor %}", "{{ ) }}", "{{ s. }}",
]


def render(template, variables):
    try:
        return {"text": _compile_jinja_template(template).render(**json.loads(json.dumps(variables)))}
    except BaseException as ex:
        return {"error": type(ex).__name__}


def main(dump):
    rows = []
    for name, template in TEMPLATES.items():
        for k, chat in enumerate(CHATS):
            v = {"messages": chat, "tools": None, "documents": None, "add_generation_prompt": k % 2 == 0, "bos_token": "<s>", "eos_token": "</s>"}
            rows.append(dict({"name": name, "template": template, "vars": v}, **render(template, v)))
    dump("chat.json", rows)
    dump("jinja.json", {"vars": V, "cases": [dict({"template": s}, **render(s, V)) for s in SNIPPETS]})
