# Shared by the scripts here: source "$(dirname "$0")/lib.sh" HWB PTY
#
#   run WORDS…           runs hwb; leaves $out, $err and $status
#   is STATUS            the exit status
#   out_has TEXT …       each text is in stdout; err_has, out_lacks, err_lacks alike
#   ok "what" COMMAND    the command succeeds
#   pty_script <<'EOF'   drives `hwb $pty_args` by the steps (see pty.c)
# The first failure prints what was seen and ends the script with status 1.
hwb=$1
pty=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
export HOME=$work/home XDG_STATE_HOME=$work/state XDG_CONFIG_HOME=$work/config XDG_DATA_HOME=$work/data
unset HWB_DATA HWB_SEED HWB_DEVICE HWB_THREADS NO_COLOR FORCE_COLOR HWB_HISTORY
export OMP_NUM_THREADS=2
mkdir -p "$HOME"
last=
pty_args=

fail() {
    printf 'FAILED: %s\n  after: %s\n--- stdout\n%s\n--- stderr\n%s\n' "$1" "$last" "${out-}" "${err-}" >&2
    exit 1
}
run() {
    last="hwb $*"
    "$hwb" "$@" >"$work/.out" 2>"$work/.err" </dev/null
    status=$?
    out=$(cat "$work/.out")
    err=$(cat "$work/.err")
}
is() { [ "$status" = "$1" ] || fail "exit status $status instead of $1"; }
has() { case $1 in *"$2"*) ;; *) fail "no '$2' in $3" ;; esac; }
lacks() { case $1 in *"$2"*) fail "'$2' is in $3" ;; esac; }
out_has() { for t in "$@"; do has "$out" "$t" stdout; done; }
err_has() { for t in "$@"; do has "$err" "$t" stderr; done; }
out_lacks() { for t in "$@"; do lacks "$out" "$t" stdout; done; }
err_lacks() { for t in "$@"; do lacks "$err" "$t" stderr; done; }
ok() {
    last=$1
    shift
    "$@" || fail "$last"
}
pty_script() {
    cat >"$work/.pty"
    last="terminal session"
    # shellcheck disable=SC2086
    "$pty" "$work/.pty" "$hwb" $pty_args
    pty_status=$?
    [ $pty_status -ne 77 ] || exit 77 # no pseudo-terminals: the rest is skipped
    [ $pty_status -eq 0 ] || fail "the session above"
}
# field FILE EXPRESSION: a value of a JSON file, by Lua on `v`
field() {
    "$hwb" -e "local v = assert(hwb.json.decode(io.open('$1'):read('a'))); print($2)"
}
