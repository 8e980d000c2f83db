#!/usr/bin/env python3
"""Writes tests/golden/text/*.json: small tokenizers that between them use every component, with the
ids and texts that the `tokenizers` library gives, and chats rendered by jinja2 as transformers sets it up.

    python3 tools/dump_text_goldens.py      (needs tokenizers, transformers, jinja2)

corpus.json   strings, hard ones; every tokenizer is run over all of them
tok_NAME.json {"tokenizer": ..., "cases": [[ids, decoded, decoded without special tokens], ...]}
chat.json     [{"name", "template", "vars", "text" or "error"}]
jinja.json    the same for the language itself
"""
import json
import os
import random
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers as N, pre_tokenizers as P, processors, trainers

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "golden", "text")

PROSE = """The kettle in the kitchen is blue, isn't it? We've said they'll come at 10:45, or I'd go; you're late by 3.14 hours.
In 2024 the price rose by 12345 % to $1,234.56 (about 999 more). HELLO World, helloWorld, snake_case and CamelCaseWords!
def f(x):\n    return {"key": [1, 2, 3], 'other': None}\n\n\tif x != 0 && y <= 7: print("done...")\n
Größe, façade, naïve café, Ångström, smørrebrød, señor, Łódź, žluťoučký kůň, İstanbul ve ılık, ﬁne ﬂow, ½ + ⅓ = ⅚, x² + y³.
Привет, мир! Это проверка. Γειά σου Κόσμε. שלום עולם. مرحبا بالعالم، كيف الحال؟ ١٢٣ नमस्ते दुनिया। १२३ สวัสดีชาวโลก
你好，世界！今天天气很好。 これはテストです。カタカナも。 안녕하세요 세계. ㄱㄴㄷ 㐂 𠮷野家 🙂👍🏽👩‍👩‍👧‍👦🇩🇪 e\u0301 a\u0308\u0323 \ufb01 \u212b
"""

CORPUS = [
    "", " ", "  ", "   a", "a   ", "\n", "\n\n\n", "\t\t x", " \n \n  ", "\r\n\r\n", "Hello world", " Hello", "Hello ", "hello\nworld\n",
    "I'm you're they've it's we'll he'd don't I'M YOU'RE IT'S WE'LL HE'D 'S 'ſ", "'s't're", "a'sb", "1234567890", "12 345 6", "3.14159", "v1.2.3-rc4",
    "٣٤٥ १२३ ²³ ½ Ⅷ ① 𝟘𝟙", "foo_bar-baz/qux", "!!!???...,,,", "([{<>}])", "a.b,c;d:e!f?g", "$€£¥+=<>|~^`", "¿Qué? ¡Sí!", "…—–‘’“”„",
    "Größe façade naïve", "e\u0301 vs é", "\u0301", "a\u0323\u0307 a\u0307\u0323", "\u212b \u00c5 A\u030a", "\ufb01\ufb02 \u2460 \u33a1", "\u1e9b\u0323", "İstanbul ıI", "ΣΊΣΥΦΟΣ ὈΔΥΣΣΕΎΣ",
    "Привет мир", "שלום", "مرحبا بالعالم", "ًٌٍ", "नमस्ते क्षत्रिय", "สวัสดี กำ", "你好世界", "こんにちは、世界。", "カﾞｷﾞ", "안녕 하세요", "\u1112\u1161\u11ab\u1100\u1173\u11af", "\ub9c8\u11a7", "\uac00\u11a8",
    "🙂🙃", "👩‍👩‍👧‍👦", "🇩🇪🇫🇷", "👍🏽", "❤️ ❤", "\u200b\u200c\u200d\u2060\ufeff", "\u00a0\u2003\u3000\u1680\u180e\u2028\u2029\u0085x", "a\u00a0b\u3000c", "\x0b\x0c\x1c\x1d\x1e\x1f", "\x00\x01\x7f",
    "\ue000\uf8ff", "\ufdd0\uffff\U0001ffff\U0010ffff", "\U0001e4d0\U0002ebf0\U00010d50\U000105c0", "\u0378\u0530\u2fe0", "𝒳𝓎 𝔸𝔹", "\U00013000\U00012000", "ⴰⵣⵓⵍ", "ᚠᚢᚦ",
    "▁", " ▁ ", "▁▁a▁b", "ĠHello Ġ", "Ċ", "<0x0A>", "<0x41>\x41", "<s>", "</s>", "<unk>", "a<s>b", "<s> x </s>", " <s>", "<s> ", "<pad><pad>", "[MASK]", "x [MASK] y", "x[MASK]y", "  [MASK]  ",
    "MixedCASEWordsHere", "camelCaseX2Y3", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "ababababab", "the the the the", "-- --- ----", "=====\n=====", "a\u0300\u0301\u0302\u0303\u0304", "x\u20dd", "day DAY Day", "yesterday Yesterday!",
    "    indented code\n        more\n", "def f(x):\n\treturn x**2  # comment", "https://example.org/a?b=c&d=%20", "user@example.org", "\\n\\t\\\\", "\"quoted\" 'single'", "{\"a\": [1, 2]}", "SELECT * FROM t;",
    "\u0000", "a\u0000b", "\ud7ff\ue000", "ﷺ", "ǅ ǆ Ǆ", "ß ẞ SS", "K k \u212a", "ΐ ΰ", "\u0345\u0301", "\u0f71\u0f72", "\u3099か\u3099", "か\u3099", "\u1100\u1161\u1100", "l\u00b7l", "१२३.४५", "12½", "x²y³", "A1b2C3", "१a२b",
]


def train_bpe(vocab, pre, norm=None, specials=(), byte_level=True, **kw):
    t = Tokenizer(models.BPE(**kw))
    t.pre_tokenizer = pre
    if norm:
        t.normalizer = norm
    alphabet = sorted(P.ByteLevel.alphabet()) if byte_level else []
    t.train_from_iterator(PROSE.split("\n") * 3, trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=list(specials), initial_alphabet=alphabet, show_progress=False, min_frequency=2))
    return t


def edit(t, **parts):
    """The tokenizer with parts of its JSON replaced."""
    j = json.loads(t.to_str())
    for k, v in parts.items():
        if k == "model":
            j["model"].update(v)
        else:
            j[k] = v
    return Tokenizer.from_str(json.dumps(j))


L3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK = [r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
            r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]


def template(t, before, after=()):
    names = list(before) + list(after)
    t.post_processor = processors.TemplateProcessing(
        single=" ".join(list(before) + ["$A"] + list(after)), pair=" ".join(list(before) + ["$A", "$B:1"]),
        special_tokens=[(n, t.token_to_id(n)) for n in names])
    return t


def tokenizers():
    out = {}
    t = train_bpe(380, P.ByteLevel(add_prefix_space=False), specials=["<|endoftext|>"])
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    out["gpt2"] = t
    t = edit(t, pre_tokenizer={"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True})
    t.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 2))
    out["roberta"] = t

    t = train_bpe(400, P.Sequence([P.Split(Regex(L3), "isolated"), P.ByteLevel(False, use_regex=False)]), specials=["<s>", "</s>"])
    t = edit(t, model={"ignore_merges": True, "merges": [m for k, m in enumerate(json.loads(t.to_str())["model"]["merges"]) if k % 7]})
    t.decoder = decoders.ByteLevel()
    template(t, ["<s>"])
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), t.post_processor])
    out["llama3"] = t

    t = train_bpe(360, P.Sequence([P.Split(Regex(L3.replace("{1,3}", "")), "isolated"), P.ByteLevel(False, use_regex=False)]), N.NFC(), ["<|endoftext|>"])
    t.decoder = decoders.ByteLevel()
    t.add_tokens([AddedToken("[MASK]", lstrip=True, rstrip=True, normalized=False), AddedToken("day", single_word=True, normalized=True),
                  AddedToken("<s>", special=True, normalized=False), AddedToken("<s> x", normalized=False), AddedToken("é", normalized=True)])
    out["qwen2"] = t
    t = train_bpe(360, P.Sequence([P.Split(Regex(O200K), "removed", invert=True), P.ByteLevel(False, use_regex=False)]))
    t.decoder = decoders.ByteLevel()
    out["o200k"] = t
    t = train_bpe(360, P.Sequence([P.Split(Regex(x), "isolated") for x in DEEPSEEK] + [P.ByteLevel(False, use_regex=False)]))
    t.decoder = decoders.ByteLevel()
    out["deepseek"] = t
    t = train_bpe(360, P.Sequence([P.Digits(True), P.ByteLevel(False)]), specials=["<|endoftext|>", "<s>"])
    t.decoder = decoders.ByteLevel()
    out["smollm"] = t
    t = train_bpe(360, P.Sequence([P.Punctuation("contiguous"), P.ByteLevel(False), P.Digits(False), P.Split(Regex("[0-9][0-9][0-9]"), "isolated")]))
    t.decoder = decoders.ByteLevel()
    out["falcon"] = t
    t = train_bpe(380, P.Split(Regex(r"\p{L}+|[^\p{L}]"), "isolated"), N.Sequence([N.ByteLevel()]), specials=["<s>"])
    t.decoder = decoders.ByteLevel()
    t.add_tokens([AddedToken("day ", normalized=True)])
    out["bytenorm"] = t

    spm = N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")])
    codes = ["<0x%02X>" % b for b in range(256)]
    t = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    t.normalizer = spm
    t.pre_tokenizer = P.Split("▁", "merged_with_next")
    t.train_from_iterator(PROSE.split("\n") * 3, trainers.BpeTrainer(vocab_size=560, special_tokens=["<unk>", "<s>", "</s>"] + codes, show_progress=False, limit_alphabet=80))
    j = json.loads(t.to_str())
    j["added_tokens"] = j["added_tokens"][:3]
    j["pre_tokenizer"] = None
    t = Tokenizer.from_str(json.dumps(j))
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    template(t, ["<s>"], ["</s>"])
    out["llama2"] = t
    j = json.loads(t.to_str())
    for a in j["added_tokens"]:
        a["normalized"] = True
    out["llama2_norm"] = Tokenizer.from_str(json.dumps(j))
    j = json.loads(out["llama2"].to_str())
    j["model"]["byte_fallback"] = False
    j["model"]["vocab"] = {k: v for k, v in j["model"]["vocab"].items() if not k.startswith("<0x")}
    for name, change in (("unk_fused", {}), ("unk_each", {"fuse_unk": False}), ("unk_none", {"unk_token": None})):
        k = json.loads(json.dumps(j))
        k["model"].update(change)
        k["post_processor"] = None
        out[name] = Tokenizer.from_str(json.dumps(k))
    j = json.loads(out["llama2"].to_str())
    del j["model"]["vocab"]["<0xE4>"]
    j["post_processor"] = None
    out["byte_gap"] = Tokenizer.from_str(json.dumps(j))
    for scheme in ("always", "first", "never"):
        j = json.loads(out["llama2"].to_str())
        j["normalizer"] = None
        j["post_processor"] = None
        t = Tokenizer.from_str(json.dumps(j))
        t.pre_tokenizer = P.Metaspace("▁", scheme, split=scheme != "first")
        t.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace("▁", scheme)])
        out["metaspace_" + scheme] = t

    words = sorted({w for w in PROSE.split()})[:150]
    vocab = {w: k for k, w in enumerate(["<pad>", "<s>", "<|end|>", "<unk>", "User:"] + words)}
    t = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    t.pre_tokenizer = P.WhitespaceSplit()
    t.add_special_tokens(["<pad>", "<s>", "<|end|>", "<unk>"])
    t.add_tokens(["User:"])
    out["world"] = t
    low = N.Sequence([N.NFD(), N.Lowercase(), N.StripAccents(), N.Strip()])
    t = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    t.normalizer = low
    t.pre_tokenizer = P.Whitespace()
    t.train_from_iterator(PROSE.split("\n"), trainers.WordLevelTrainer(vocab_size=150, special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False))
    t.add_tokens([AddedToken("Yesterday", normalized=True), AddedToken("[MASK]", lstrip=True, special=True)])
    t.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    out["words"] = t
    base = json.loads(out["metaspace_never"].to_str())
    forms = {"nfd": N.NFD(), "nfkc": N.NFKC(), "nfkd": N.NFKD(), "regex": N.Sequence([N.Replace(Regex(r"\s+"), " "), N.Replace(Regex("(?i)the"), "THE"), N.Strip(right=False)])}
    for name, n in forms.items():
        t = Tokenizer.from_str(json.dumps(base))
        t.normalizer = n
        out["norm_" + name] = t
    splits = {"punct_removed": P.Punctuation("removed"), "punct_previous": P.Punctuation("merged_with_previous"), "punct_next": P.Punctuation("merged_with_next"),
              "punct_isolated": P.Punctuation("isolated"), "digits": P.Digits(False),
              "string_previous": P.Split(" ", "merged_with_previous"), "string_next": P.Split("a", "merged_with_next"), "regex_contiguous": P.Split(Regex(r"\p{L}"), "contiguous"),
              "regex_invert": P.Split(Regex(r"\w+"), "merged_with_previous", invert=True), "empty_match": P.Split(Regex(r"(?<=\p{Ll})(?=\p{Lu})|x*"), "isolated"),
              "sequence": P.Sequence([P.WhitespaceSplit(), P.Punctuation("isolated"), P.Metaspace("▁", "first")])}
    for name, p in splits.items():
        t = Tokenizer.from_str(json.dumps(base))
        t.pre_tokenizer = p
        t.decoder = decoders.Fuse()
        out["pre_" + name] = t
    return out


def decoded(t, ids, skip):
    try:
        return t.decode(ids, skip_special_tokens=skip)
    except BaseException:  # the library itself panics on a few
        return None


def dump(name, value):
    with open(os.path.join(OUT, name), "w") as f:
        json.dump(value, f, ensure_ascii=True, separators=(",", ":"))
        f.write("\n")


def dump_tokenizers():
    random.seed(1)
    corpus = list(CORPUS) + [line for line in PROSE.split("\n") if line]
    pool = "".join(CORPUS)
    for _ in range(40):
        corpus.append("".join(random.choice(pool) for _ in range(random.randint(1, 24))))
    dump("corpus.json", corpus)
    small = {"gpt2", "llama3", "qwen2", "llama2", "world", "words"}  # the others share vocabularies: every third string is enough
    all_of_them = tokenizers()
    base = json.loads(all_of_them["metaspace_never"].to_str())
    for name, t in all_of_them.items():
        cases = []
        for k, s in enumerate(corpus):
            if name not in small and k % 3:
                cases.append(None)
                continue
            try:
                ids = t.encode(s).ids
            except BaseException:
                cases.append(None)
                continue
            cases.append([ids, decoded(t, ids, False), decoded(t, ids, True)])
        j, out = json.loads(t.to_str()), {}
        if name != "metaspace_never" and j["model"] == base["model"]:  # say only what differs
            out["base"] = "metaspace_never"
            j = {k: v for k, v in j.items() if v != base[k]}
        dump("tok_%s.json" % name, dict(out, tokenizer=j, cases=cases))


if __name__ == "__main__":
    os.makedirs(OUT, exist_ok=True)
    dump_tokenizers()
    import dump_text_chats
    dump_text_chats.main(dump)
