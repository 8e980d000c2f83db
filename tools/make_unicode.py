#!/usr/bin/env python3
"""Writes src/text/unicode_tables.{c,h}: what the `tokenizers` library thinks of every code point.

The library mixes four Unicode versions (its regular expressions, Rust's standard library, the
`regex` crate, an old normaliser and an old punctuation table), so every table is obtained by
asking the library itself, one code point at a time.

    python3 tools/make_unicode.py      (needs the Python package tokenizers)
"""
import os
import tokenizers
from tokenizers import Regex, normalizers as N, pre_tokenizers as P

CPS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
CHUNK = 20000
GC = ["Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe",
      "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Cn"]
SCRIPTS = ["Arabic", "Armenian", "Bengali", "Bopomofo", "Common", "Cyrillic", "Devanagari", "Ethiopic",
           "Georgian", "Greek", "Gujarati", "Gurmukhi", "Han", "Hangul", "Hebrew", "Hiragana", "Inherited",
           "Kannada", "Katakana", "Khmer", "Lao", "Latin", "Malayalam", "Mongolian", "Myanmar", "Oriya",
           "Sinhala", "Tamil", "Telugu", "Thai", "Tibetan"]


def chunks():
    for i in range(0, len(CPS), CHUNK):
        yield CPS[i:i + CHUNK]


def by_regex(pattern):
    pre, out = P.Split(Regex(pattern), "removed", invert=True), set()
    for c in chunks():
        for piece, _ in pre.pre_tokenize_str("".join(map(chr, c))):
            out.update(map(ord, piece))
    return out


def by_isolation(pre):
    """Code points that `pre` cuts out of a row of letters."""
    out = set()
    for c in chunks():
        for piece, _ in pre.pre_tokenize_str("".join("a" + chr(x) for x in c)):
            if len(piece) == 1 and piece != "a":
                out.add(ord(piece))
    return out


def regex_crate_words():
    """\\w of the `regex` crate, which added tokens and the Whitespace pre-tokenizer use."""
    pre, out = P.Whitespace(), set()
    for c in chunks():
        for piece, _ in pre.pre_tokenize_str(" ".join("a" + chr(x) + "a" for x in c)):
            if len(piece) == 3:
                out.add(ord(piece[1]))
    return out


def ranges(s):
    out = []
    for c in sorted(s):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def normalisation_active():
    """Everything that can change, reorder or compose under some form; the rest is inert."""
    nfd, nfkd, active = N.NFD(), N.NFKD(), set()
    for c in CPS:
        s = chr(c)
        d = nfd.normalize_str(s)
        if d != s or nfkd.normalize_str(s) != s:
            active.add(c)
        if d != s:
            active.update(map(ord, d))
        if d == s and nfd.normalize_str("a\u0345" + s) != "a\u0345" + s:
            active.add(c)  # its combining class is not 0
    active.add(0x345)
    for a, b in ((0x1100, 0x1112), (0x1161, 0x1175), (0x11a8, 0x11c2)):
        active.update(range(a, b + 1))  # Hangul jamo that compose by rule
    return active


def lower_runs():
    """(first, last, step, delta) for simple mappings; U+0130 alone maps to two code points."""
    low, m = N.Lowercase(), {}
    for c in CPS:
        r = low.normalize_str(chr(c))
        if r != chr(c):
            if len(r) != 1:
                assert c == 0x130 and r == "i\u0307"
                continue
            m[c] = ord(r)
    runs = []
    for c in sorted(m):
        d = m[c] - c
        if runs and runs[-1][3] == d:
            f, l, s, _ = runs[-1]
            if (f == l and c - l <= 2) or (f != l and c - l == s):
                runs[-1] = [f, c, c - l, d]
                continue
        runs.append([c, c, 1, d])
    return runs


def emit_ranges(f, name, s, comment):
    r = ranges(s)
    f.write("/* %s: %d code points. */\nconst tn_range %s[] = {\n" % (comment, len(s), name))
    line = ""
    for a, b in r:
        item = "{0x%x,0x%x}," % (a, b)
        if len(line) + len(item) > 98:
            f.write(line + "\n")
            line = ""
        line += item
    f.write(line + "\n};\nconst int %s_n = %d;\n\n" % (name, len(r)))


def main():
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "src", "text")
    gc = {}
    for i, name in enumerate(GC[:-1]):
        for c in by_regex(r"\p{%s}" % name) if name != "Cs" else []:
            gc[c] = i
    for c in range(0xD800, 0xE000):
        gc[c] = GC.index("Cs")
    runs, last = [], -1
    for c in range(0x110000):
        g = gc.get(c, GC.index("Cn"))
        if g != last:
            runs.append((c, g))
            last = g
    sets = [("tn_uni_word", by_regex(r"[\w]"), "[\\w] of the library's pattern engine"),
            ("tn_uni_word_alone", by_regex(r"\w"), "\\w outside a class: six Latin-1 numbers more"),
            ("tn_uni_alpha", by_regex(r"[[:alpha:]]"), "[[:alpha:]] of the library's pattern engine"),
            ("tn_uni_rword", regex_crate_words(), "\\w for added tokens and Whitespace"),
            ("tn_uni_space", set(CPS) - by_regex(r"\S"), "white space"),
            ("tn_uni_number", by_isolation(P.Digits(True)), "numeric characters for Digits"),
            ("tn_uni_punct", by_isolation(P.Punctuation("isolated")), "punctuation for Punctuation"),
            ("tn_uni_mark", {c for c in CPS if N.StripAccents().normalize_str("a" + chr(c) + "b") == "ab"},
             "combining marks for StripAccents"),
            ("tn_uni_active", normalisation_active(), "not inert under normalisation"),
            ("tn_uni_nfc_changes", {c for c in CPS if N.NFC().normalize_str(chr(c)) != chr(c)}, "not their own NFC")]
    assert sets[4][1] == set(CPS) - {ord(c) for c in "".join(
        p for k in chunks() for p, _ in P.WhitespaceSplit().pre_tokenize_str("".join(map(chr, k))))}
    with open(os.path.join(root, "unicode_tables.h"), "w") as f:
        f.write("/* Generated by tools/make_unicode.py from tokenizers %s; do not edit. */\n" % tokenizers.__version__)
        f.write("#ifndef TN_UNICODE_TABLES_H\n#define TN_UNICODE_TABLES_H\n#include <stdint.h>\n\n")
        f.write("typedef struct tn_range { uint32_t a, b; } tn_range; /* inclusive */\n")
        f.write("typedef struct tn_lower_run { uint32_t first, last; int32_t step, delta; } tn_lower_run;\n")
        f.write("typedef struct tn_script { const char *name; int first, n; } tn_script; /* in tn_uni_scripts */\n\n")
        f.write("enum { %s };\n" % ", ".join("TN_GC_" + g for g in GC))
        f.write("extern const char tn_gc_names[%d][3];\n" % len(GC))
        f.write("extern const uint32_t tn_gc_runs[]; /* first << 8 | category; sorted, covers everything */\n")
        f.write("extern const int tn_gc_runs_n;\n")
        for name, _, comment in sets:
            f.write("extern const tn_range %s[];\nextern const int %s_n;\n" % (name, name))
        f.write("extern const tn_range tn_uni_scripts[];\nextern const tn_script tn_scripts[%d];\n" % len(SCRIPTS))
        f.write("enum { TN_SCRIPTS = %d };\n" % len(SCRIPTS))
        f.write("extern const tn_lower_run tn_lower_runs[];\nextern const int tn_lower_runs_n;\n#endif\n")
    with open(os.path.join(root, "unicode_tables.c"), "w") as f:
        f.write("/* Generated by tools/make_unicode.py from tokenizers %s; do not edit.\n" % tokenizers.__version__)
        f.write(" * Each table is the library's own answer for every code point. */\n")
        f.write('#include "text/unicode_tables.h"\n\n')
        f.write("const char tn_gc_names[%d][3] = {%s};\n\n" % (len(GC), ", ".join('"%s"' % g for g in GC)))
        f.write("const uint32_t tn_gc_runs[] = {\n")
        line = ""
        for c, g in runs:
            item = "0x%x," % (c << 8 | g)
            if len(line) + len(item) > 98:
                f.write(line + "\n")
                line = ""
            line += item
        f.write(line + "\n};\nconst int tn_gc_runs_n = %d;\n\n" % len(runs))
        for name, s, comment in sets:
            emit_ranges(f, name, s, comment)
        allr, rows = [], []
        for name in SCRIPTS:
            r = ranges(by_regex(r"\p{%s}" % name))
            rows.append((name, len(allr), len(r)))
            allr += r
        f.write("const tn_range tn_uni_scripts[] = {\n")
        line = ""
        for a, b in allr:
            item = "{0x%x,0x%x}," % (a, b)
            if len(line) + len(item) > 98:
                f.write(line + "\n")
                line = ""
            line += item
        f.write(line + "\n};\nconst tn_script tn_scripts[%d] = {\n" % len(rows))
        for name, a, n in rows:
            f.write('    {"%s", %d, %d},\n' % (name, a, n))
        f.write("};\n\n")
        lr = lower_runs()
        f.write("const tn_lower_run tn_lower_runs[] = {\n")
        line = ""
        for r in lr:
            item = "{0x%x,0x%x,%d,%d}," % tuple(r)
            if len(line) + len(item) > 98:
                f.write(line + "\n")
                line = ""
            line += item
        f.write(line + "\n};\nconst int tn_lower_runs_n = %d;\n" % len(lr))


main()
