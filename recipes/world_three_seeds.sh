#!/bin/bash
# The world's pipeline with three seeds of everything after the base; prints the three tables.
#   recipes/world_three_seeds.sh OUT [BASE]
set -eu
cd "$(dirname "$0")/.."
out=$1 base=${2:-models/world}
for seed in 1 2 3; do recipes/world_pipeline.sh $seed "$out/seed$seed" "$base"; done
for seed in 1 2 3; do echo; echo "seed $seed"; cat "$out/seed$seed/table.txt"; done
