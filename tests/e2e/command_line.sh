# Verbs, help, version, exit statuses.
. tests/e2e/lib.sh

check cli_version tenet --version
check cli_help tenet --help
fails cli_without_verb 2 "Usage: tenet VERB" tenet
fails cli_unknown_verb 2 "did you mean 'world'?" tenet wrld
fails cli_unknown_option 2 "did you mean '--seed'?" tenet world text --sede 3
fails cli_wrong_type 2 "--count must be a whole number, found 'many'" tenet world text --count many
fails cli_missing_argument 2 "missing argument" tenet world
fails cli_missing_recipe 1 "cannot open" tenet world text --config "$E2E_TMP/none.yaml"

# every verb explains itself
bad=
for verb in $(tenet --help | sed -n 's/^  \([a-z][a-z0-9-]*\) .*/\1/p'); do
    tenet "$verb" --help | grep -q "^Usage: tenet $verb" || bad="$bad $verb"
done
if [ -z "$bad" ]; then ok cli_help_of_every_verb; else fail "cli_help_of_every_verb:$bad"; fi

# a recipe and the command line say the same thing
printf 'seed: 4\ncount: 3\nbf16: true\n' >"$E2E_TMP/r.yaml"
tenet world prompts-rl --config "$E2E_TMP/r.yaml" --count 2 >"$E2E_TMP/a" 2>"$E2E_TMP/notice"
tenet world prompts-rl --seed=4 --count=2 >"$E2E_TMP/b" 2>/dev/null
if [ -s "$E2E_TMP/a" ] && cmp -s "$E2E_TMP/a" "$E2E_TMP/b"; then ok cli_recipe; else fail cli_recipe; fi
if [ "$(grep -c 'ignored: bf16' "$E2E_TMP/notice")" = 1 ]; then ok cli_ignored_named_once; else fail cli_ignored_named_once; fi

# a full disk and a closed pipe are failures with a message, not silence
if [ -w /dev/full ]; then
    status=0
    tenet world sft --count 50 >/dev/full 2>"$E2E_TMP/full" || status=$?
    if [ "$status" = 1 ] && grep -q "No space left" "$E2E_TMP/full"; then ok cli_full_disk; else fail "cli_full_disk: status $status"; fi
    status=0
    tenet --help >/dev/full 2>"$E2E_TMP/full" || status=$?
    if [ "$status" = 1 ] && grep -q "No space left" "$E2E_TMP/full"; then ok cli_full_disk_help; else fail "cli_full_disk_help: status $status"; fi
else
    skip cli_full_disk no /dev/full
fi

# failing system calls (the n-th, until five in a row change nothing) end in a message, not a crash
n=0 bad= passes=0 failures=0
while n=$((n + 1)); [ $n -le 400 ] && [ $passes -lt 5 ]; do
    status=0
    TENET_FAULT=$n:5 tenet world sft --count 20 --out "$E2E_TMP/f.jsonl" >/dev/null 2>"$E2E_TMP/log" || status=$?
    if [ $status = 0 ]; then
        passes=$((passes + 1))
        continue
    fi
    passes=0 failures=$((failures + 1))
    if [ $status != 1 ] || ! grep -q "tenet: error:" "$E2E_TMP/log"; then bad="$bad $n:$status"; fi
done
if [ -z "$bad" ] && [ $failures -gt 5 ]; then ok "cli_faults ($failures calls failed in turn)"; else fail "cli_faults:$bad"; fi
