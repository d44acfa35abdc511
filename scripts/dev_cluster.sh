# Sourced by the scripts beside it: a `basaltd dev` that lives as long as the script, and never longer.
# shellcheck shell=sh

DAEMON_PID=''

# Whether a living process has the folder.
is_in_use() {
    [ -e "$1/run/dev.pid" ] && ! flock --nonblock --shared "$1/run/dev.pid" true
}

stop_cluster() {
    if [ -n "$DAEMON_PID" ]; then
        kill -TERM "$DAEMON_PID" 2>/dev/null || true
        wait "$DAEMON_PID" 2>/dev/null || true
        DAEMON_PID=''
    fi
}

# start_cluster DIR [ARGUMENTS OF basaltd dev]: a new one; returns once it takes writes.
start_cluster() {
    if is_in_use "$1"; then
        echo "$1 is in use by process $(cat "$1/run/dev.pid"): stop it first" >&2
        exit 16
    fi
    rm -rf "$1"
    run_cluster "$@"
}

# run_cluster DIR [ARGUMENTS OF basaltd dev]: the one that is there, or a new one.
run_cluster() {
    dir=$1
    shift
    mkdir -p "$dir"
    trap stop_cluster EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    said="$dir.stdout"
    log="$dir.log"
    # Emptied here: the daemon opens it a moment later, and until then it says what the last one said.
    : >"$said"
    target/release/basaltd dev --dir "$dir" "$@" >"$said" 2>"$log" &
    DAEMON_PID=$!
    tries=0
    until grep -qx ready "$said"; do
        if ! kill -0 "$DAEMON_PID" 2>/dev/null || [ "$tries" -ge 600 ]; then
            echo "the cluster did not come up; the end of $log:" >&2
            tail -n 20 "$log" >&2
            exit 1
        fi
        tries=$((tries + 1))
        sleep 0.1
    done
    BASALT_CONFIG="$dir/basalt.toml"
    export BASALT_CONFIG
}
