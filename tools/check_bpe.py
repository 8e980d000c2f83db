"""Development only: `tenet train-tokenizer` against the `tokenizers` library.

    check_bpe.py TENET FILE...           trains both on text files and compares tokenizer.json, merge by merge
    check_bpe.py golden OUT TEXT.json    writes the vectors of tests/unit/test_bpe_train.c

TEXT.json: a list of strings."""
import gzip, json, subprocess, sys, tempfile, time
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SPLIT = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}%s| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
PATTERN = {"llama3": SPLIT % "{1,3}", "qwen2": SPLIT % ""}


def tokenizer(pre):
    t = Tokenizer(models.BPE())
    if pre == "gpt2":
        t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        t.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(PATTERN.get(pre, pre)), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    if pre == "qwen2":
        t.normalizer = normalizers.NFC()
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    return t


def train(texts, pre, size, least=0, special=("<|endoftext|>",)):
    t = tokenizer(pre)
    how = trainers.BpeTrainer(vocab_size=size, min_frequency=least, special_tokens=list(special), show_progress=False,
                              initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    t.train_from_iterator(texts, how)
    return json.loads(t.to_str())


def read(path):
    return (gzip.open if path.endswith(".gz") else open)(path, "rb").read().decode()


def split_ends(text):
    """Lines with their ends, as train_from_files reads them."""
    out, at = [], 0
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end + 1
        out.append(text[at:end])
        at = end
    return out


def compare(tenet, files, pre, size, least):
    with tempfile.TemporaryDirectory() as d:
        t0 = time.time()
        subprocess.run([tenet, "train-tokenizer", "--data", *files, "--output-dir", d, "--vocab-size", str(size),
                        "--min-frequency", str(least), "--pre-tokenizer", pre], check=True)
        ours, t1 = json.load(open(d + "/tokenizer.json")), time.time()
    theirs = train((l for f in files for l in split_ends(read(f))), pre, size, least)
    t2 = time.time()
    a, b = ours["model"].pop("merges"), theirs["model"].pop("merges")
    for i, (x, y) in enumerate(zip(a, b)):
        assert x == y, f"{pre}: merge {i} is {x}, theirs {y}"
    assert len(a) == len(b), (len(a), len(b))
    assert list(ours["model"]["vocab"].items()) == list(theirs["model"]["vocab"].items()), "other vocabulary"
    assert ours == theirs, {k: (ours[k], theirs[k]) for k in ours if k != "model" and ours[k] != theirs[k]}
    print(f"{pre}, {size}, at least {least}: {len(a)} merges equal; {t1 - t0:.1f} s, theirs {t2 - t1:.1f} s", flush=True)


def golden(out, path):
    texts = json.load(open(path))
    cases = []
    for pre, size, least, special in (("gpt2", 700, 0, ["<|endoftext|>"]), ("llama3", 600, 2, ["<s>", "</s>", "<s>"]),
                                      ("qwen2", 500, 0, []), ("\\p{L}+|\\d", 1500, 0, ["e", "ab", "aba"])):
        m = train(texts, pre, size, least, special)["model"]
        vocab = sorted(m["vocab"], key=m["vocab"].get)
        cases.append({"pre": pre, "vocab_size": size, "min_frequency": least, "special": special,
                      "tokens": len(vocab), "first": vocab[:4], "last": vocab[-1],
                      "merges": [" ".join(p) for p in m["merges"]]})
        print(pre, len(vocab), "tokens,", len(m["merges"]), "merges")
    json.dump({"texts": texts, "cases": cases}, open(out, "w"), ensure_ascii=False, indent=0)


if sys.argv[1] == "golden":
    golden(*sys.argv[2:])
else:
    for pre, size, least in (("gpt2", 8000, 0), ("llama3", 8000, 2), ("qwen2", 3000, 0), ("\\p{L}+|\\p{N}", 50000, 0)):
        compare(sys.argv[1], sys.argv[2:], pre, size, least)
