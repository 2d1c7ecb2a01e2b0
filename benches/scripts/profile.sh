#!/usr/bin/env bash
# usage: profile.sh RINGWIRE RINGLOAD [ROW]...
#
# Where the release server's time goes, row by row: the kernel's share, and its functions in user space that take most
# of the rest. Samples are of cpu-clock, 4,999 a second for four seconds, of a server on core 0; the generator is on core 1.
# docs/profiles.md holds what this printed. Needs perf, and the right to use it.
set -eu
ringwire=$1 ringload=$2
shift 2
data=$(mktemp) said=$(mktemp)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -f "$data" "$said"' EXIT

row() {
    local name=$1 path=$2
    shift 2
    taskset -c 0 "$ringwire" serve --listen 127.0.0.1:0 --shards 1 --feed none > "$said" 2>&1 &
    server=$!
    for _ in $(seq 100); do grep -q '^ready' "$said" && break || sleep 0.1; done
    local port
    port=$(grep -oE '127\.0\.0\.1:[0-9]+' "$said" | head -1 | cut -d: -f2)
    "$ringload" "$1" "ws://127.0.0.1:$port$path" "${@:2}" --core 1 --seconds 7 --progress off > "$said" 2>&1 &
    local load=$!
    # After connecting and warming up.
    sleep 3
    perf record -q -e cpu-clock -F 4999 -p "$server" -o "$data" -- sleep 4 > /dev/null 2>&1
    wait "$load" || true
    kill "$server"
    wait "$server" || true
    server=
    echo "== $name: ${*:1}"
    grep -iE 'server|deliver|messages' "$said" | head -4 || true
    perf report -i "$data" --sort dso --stdio -q 2>/dev/null | grep -v '^$' | head -4
    perf report -i "$data" --dso "$(basename "$ringwire")" --sort symbol --stdio -q --percentage absolute 2>/dev/null |
        grep -v '^$' | sed "s/  *-  *- *$//" | cut -c1-130 | head -10
    echo "-- kernel"
    perf report -i "$data" --dso '[kernel.kallsyms]' --sort symbol --stdio -q --percentage absolute 2>/dev/null |
        grep -v '^$' | sed "s/  *-  *- *$//" | cut -c1-80 | head -10
}

wanted() { [ ${#rows[@]} -eq 0 ] || [[ " ${rows[*]} " == *" $1 "* ]]; }
rows=("$@")
wanted echo && row echo /echo echo --connections 100 --bytes 64
wanted echo-depth-16 && row echo-depth-16 /echo echo --connections 100 --bytes 64 --depth 16
wanted echo-1000 && row echo-1000 /echo echo --connections 1000 --bytes 64
wanted echo-16384 && row echo-16384 /echo echo --connections 100 --bytes 16384
wanted echo-262144-depth-16 && row echo-262144-depth-16 /echo echo --connections 1 --bytes 262144 --depth 16
wanted fanout-rest && row fanout-rest "" fanout --subscribers 1000 --rate 100
wanted fanout-window-64 && row fanout-window-64 "" fanout --subscribers 1000 --window 64
wanted storm && row storm /echo storm
true
