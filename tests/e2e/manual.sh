# Manual pages render without a warning; completion works in the shells that are installed.
. tests/e2e/lib.sh
M=$E2E_TMP/manual
mkdir -p "$M/sub/dir1" "$M/bin"
touch "$M/sub/one row.jsonl"
ln -s "$TENET_BIN" "$M/bin/tenet"
PATH=$M/bin:$PATH

# ---- manual pages ----
tenet help --man >"$M/tenet.1"
for verb in $(tenet --help | sed -n 's/^  \([a-z][a-z0-9-]*\) .*/\1/p'); do tenet help --man "$verb" >"$M/tenet-$verb.1"; done
check manual_of_every_verb test "$(grep -l '^\.SH OPTIONS' "$M"/tenet-*.1 | wc -l)" = "$(tenet completion words '' | grep -vc -e '^[-:]' -e '^help')"
if LC_ALL=C grep -q '[^ -~]' "$M"/*.1; then fail manual_is_ascii; else ok manual_is_ascii; fi
fails manual_of_no_verb 2 "unknown verb" tenet help --man none
if command -v groff >/dev/null 2>&1; then
    bad=
    for page in "$M"/*.1; do bad=$bad$(groff -ww -man -Tutf8 -z "$page" 2>&1); done
    if [ -z "$bad" ]; then ok manual_groff; else fail "manual_groff: $bad"; fi
    groff -man -Tutf8 "$M/tenet-sft.1" | sed "s/$(printf '\033')\[[0-9]*m//g; s/.$(printf '\b')//g" >"$M/sft.txt"
    check manual_option grep -q -e '--assistant-only-loss' "$M/sft.txt"
    check manual_example grep -q -e '^ *tenet sft --model base/ --data demos.jsonl --output-dir sft/$' "$M/sft.txt"
else
    skip manual_groff no groff
fi
if command -v mandoc >/dev/null 2>&1; then check manual_mandoc mandoc -Tlint -W warning "$M"/*.1; else skip manual_mandoc no mandoc; fi

# ---- completion ----
fails completion_of_no_shell 2 "bash, zsh or fish" tenet completion tcsh
cd "$M" || exit 1
# bash itself, with its line editor: what a line with tabs becomes
line() {
    printf '%b' "source <(tenet completion bash)\n$1\001echo \n" | TERM=dumb bash --norc --noprofile -i 2>/dev/null | tail -n 1
}
if [ "$(printf 'ec\t ok\n' | TERM=dumb bash --norc --noprofile -i 2>/dev/null | tail -n 1)" = ok ]; then
    n=0
    while IFS='>' read -r typed want; do
        n=$((n + 1))
        got=$(line "$typed")
        if [ "$got" = "$want" ]; then ok "completion_bash_$n"; else fail "completion_bash_$n: $typed: $got"; fi
    done <<'LINES'
tenet sf\t>tenet sft
tenet help --m\tworl\t>tenet help --man world
tenet sft --no-sh\t>tenet sft --no-share-prompts
tenet sft --dtype fl\t>tenet sft --dtype float32
tenet sft --dtype=fl\t>tenet sft --dtype=float32
tenet sft --dtype=\e*>tenet sft --dtype=bf16 bfloat16 f32 float32
tenet sft --data su\ton\t>tenet sft --data sub/one row.jsonl
tenet sft --model_name_or_path su\tdi\t>tenet sft --model_name_or_path sub/dir1/
tenet sft --resume la\t>tenet sft --resume latest
tenet sft --resume su\tdi\t>tenet sft --resume sub/dir1/
tenet eval --models a=su\tdi\t>tenet eval --models a=sub/dir1/
tenet eval --models=a=su\tdi\t>tenet eval --models=a=sub/dir1/
tenet world prompts-r\t>tenet world prompts-rl
tenet convert su\ton\t>tenet convert sub/one row.jsonl
tenet sft --seed \t>tenet sft --seed
LINES
else
    skip completion_bash "no bash with a line editor"
fi
if command -v zsh >/dev/null 2>&1; then
    tenet completion zsh >"$M/_tenet"
    check completion_zsh_syntax zsh -n "$M/_tenet"
else
    skip completion_zsh_syntax no zsh
fi
if command -v fish >/dev/null 2>&1; then
    tenet completion fish >"$M/t.fish"
    check completion_fish_syntax fish -n "$M/t.fish"
    export XDG_CONFIG_HOME=$M XDG_DATA_HOME=$M HOME=$M
    got=$(for l in 'tenet sf' 'tenet sft --dtype=fl' 'tenet sft --data sub/on' 'tenet eval --models a=sub/d'; do
        fish --no-config -c "source $M/t.fish; complete -C '$l'" | cut -f 1 | tr '\n' ';'
    done)
    if [ "$got" = "sft;--dtype=float32;sub/one row.jsonl;a=sub/dir1/;" ]; then ok completion_fish; else fail "completion_fish: $got"; fi
else
    skip completion_fish no fish
fi
