#!/bin/sh
# Runs the fuzz targets, one after the other, FUZZ_SECONDS each; FUZZ_TARGETS names some of them. What they come upon is kept in fuzz/found,
# what makes one fail in fuzz/artifacts. With the argument `corpus`, what was found is boiled down to the small corpus that is kept in
# fuzz/corpus. Without a sanitizer, which safe code has little use for, the stable toolchain will do.
set -eu

cargo=${CARGO:-cargo}
seconds=${FUZZ_SECONDS:-600}
# Of each target's corpus.
bytes_max=20000
files_max=40

cd "$(dirname "$0")/../fuzz"

if ! "$cargo" fuzz --version >/dev/null 2>&1; then
    echo 'installing cargo-fuzz'
    "$cargo" install --quiet --locked cargo-fuzz
fi

targets=${FUZZ_TARGETS:-$("$cargo" fuzz list)}
"$cargo" fuzz build --sanitizer none
"$cargo" run --quiet --example seeds -- found

for target in $targets; do
    mkdir -p "found/$target" "corpus/$target"
    if [ "${1:-}" = corpus ]; then
        rm -rf "merged/$target"
        mkdir -p "merged/$target"
        "$cargo" fuzz run --sanitizer none "$target" "merged/$target" "found/$target" "corpus/$target" -- -merge=1
        rm -f "corpus/$target"/*
        sum=0
        # Of all sizes, the smallest first: names made by libFuzzer have no spaces.
        # shellcheck disable=SC2012
        step=$(($(ls "merged/$target" | wc -l) / files_max + 1))
        # shellcheck disable=SC2012
        for file in $(ls -Sr "merged/$target" | awk "NR % $step == 0"); do
            sum=$((sum + $(wc -c <"merged/$target/$file")))
            if [ "$sum" -gt "$bytes_max" ]; then
                break
            fi
            cp "merged/$target/$file" "corpus/$target/"
        done
        rm -rf "merged/$target"
    else
        echo "fuzzing $target for $seconds s"
        "$cargo" fuzz run --sanitizer none "$target" "found/$target" "corpus/$target" -- \
            "-max_total_time=$seconds" -max_len=16384 -len_control=10 -rss_limit_mb=1024 -timeout=10 -print_final_stats=1
    fi
done
