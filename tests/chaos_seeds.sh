#!/usr/bin/env bash
# `make chaos` with several seeds, one after the other: a line for each, and the whole output of those that fail.
# Usage: tests/chaos_seeds.sh SECONDS SEED...
set -uo pipefail
cd "$(dirname "$0")/.."
seconds=$1
shift
failed=0
for seed in "$@"; do
  output=$(target/debug/examples/chaos --seconds "$seconds" --seed "$seed" 2>&1)
  status=$?
  words=$(grep -E '^[0-9]+ (faults|jobs acknowledged)|with more than one attempt|settled in|broken promises' <<<"$output" |
    sed 's/^ *//; s/^chaos: //; s/, and:$//' | paste -sd ';' | sed 's/;/; /g')
  if [ "$status" = 0 ]; then
    printf 'seed %s: kept; %s\n' "$seed" "$words"
  else
    failed=$((failed + 1))
    printf 'seed %s: BROKEN; %s\n%s\n' "$seed" "$words" "$output"
  fi
done
exit "$((failed > 0))"
