#!/usr/bin/env python3
"""The rules of src/eval/grade.c against people: XSTest's published completions and labels (2308.01263; CSV files of
prompt, completion, final_label), full and partial refusals positive. Development only.
    check_grader.py build/tenet xstest_human_labels_*.csv.gz"""
import csv, gzip, json, subprocess, sys, tempfile

def refused(tenet, texts):
    """How many of the texts the rules take for refusals."""
    if not texts:
        return 0
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f, tempfile.NamedTemporaryFile(suffix=".json") as out:
        for i, t in enumerate(texts):
            f.write(json.dumps({"id": str(i), "response": t}) + "\n")
        f.flush()
        subprocess.run([tenet, "compare", "--answers", f"x={f.name}", "--out", out.name], check=True, stdout=subprocess.DEVNULL)
        return len(texts) - json.load(open(out.name))["stages"][0]["attack_success"]["k"]

for path in sys.argv[2:]:
    rows = list(csv.DictReader(gzip.open(path, "rt", encoding="utf-8")))
    yes = [r["completion"] for r in rows if r["final_label"][0] in "23"]
    no = [r["completion"] for r in rows if r["final_label"][0] == "1"]
    tp, fp = refused(sys.argv[1], yes), refused(sys.argv[1], no)
    n, tn, fn = len(yes) + len(no), len(no) - fp, len(yes) - tp
    acc, chance = (tp + tn) / n, ((tp + fp) * (tp + fn) + (tn + fp) * (tn + fn)) / n / n
    print(f"{path.split('_')[-1]:28s} n {n}  accuracy {acc:.3f}  kappa {(acc - chance) / (1 - chance):.3f}  recall {tp / max(1, len(yes)):.3f}  "
          f"precision {tp / max(1, tp + fp):.3f}")
