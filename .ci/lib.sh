# What .ci/run and .ci/peers share: lanes, their time, and the sum of all they counted. To be sourced.
# shellcheck shell=bash

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0 skipped=0
: > "$work/lanes"

# The folder of data sets lies beside the checkout where there is one; without it their tests are skipped.
if [ -z "${OPUSIM_DATA:-}" ] && [ -d "$checkout/../shared/data" ]; then
    OPUSIM_DATA=$(cd "$checkout/../shared/data" && pwd)
    export OPUSIM_DATA
fi
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_QUIET=1 MPLBACKEND=Agg
# A coloured line would not be counted. Not PY_COLORS=0, which pytest takes for no and typer for yes.
unset PYTHONPATH FORCE_COLOR PY_COLORS

# The interpreters here, a path a line, from Python 3.11 to 3.14: pyenv's shims of versions that are not chosen fail.
pythons() {
    local minor version
    for minor in 11 12 13 14; do
        if command -v "python3.$minor" > /dev/null && "python3.$minor" -c '' 2> /dev/null; then
            "python3.$minor" -c 'import sys; print(sys.executable)'
        elif version=$(pyenv whence "python3.$minor" 2> /dev/null | tail -n 1) && [ -n "$version" ]; then
            PYENV_VERSION=$version "python3.$minor" -c 'import sys; print(sys.executable)'
        fi
    done
}

# Number before a word in pytest's closing line: count WORD LOG. Lines of pytest alone count, and the last of them.
count() {
    local line
    line=$(grep -E '^(=+ )?([0-9]+ [a-z]+, )*[0-9]+ [a-z]+ in [0-9.]+s' "$2" | tail -n 1)
    grep -oE "[0-9]+ $1" <<< "$line" | grep -oE '[0-9]+' || echo 0
}

# Runs a command as a lane: lane NAME COMMAND... What pytest counts in it is added up; anything else counts as one.
lane() {
    local name=$1 status=0 start=$SECONDS p f e s
    shift
    printf '\n=== %s\n+ %s\n' "$name" "$*"
    # Plainly, not before an || or in an if: there bash goes on after a command that fails, set -e or not.
    set +e
    (
        set -e
        "$@"
    ) 2>&1 | tee "$work/lane.log"
    status=${PIPESTATUS[0]}
    set -e
    p=$(count passed "$work/lane.log") f=$(count failed "$work/lane.log") e=$(count 'errors?' "$work/lane.log")
    s=$(count skipped "$work/lane.log")
    f=$((f + e))
    if [ $((p + f + s)) -eq 0 ]; then
        if [ "$status" -eq 0 ]; then p=1; else f=1; fi
    elif [ "$status" -ne 0 ] && [ "$f" -eq 0 ]; then
        f=1 # pytest ended in another way than by a test
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    printf '%-44s %5d passed %3d failed %4d skipped %5.1f min\n' "$name" "$p" "$f" "$s" \
        "$(awk "BEGIN { print ($SECONDS - $start) / 60 }")" >> "$work/lanes"
}

# The command of README after a mark, run as it stands, so that it cannot rot: readme_command MARK
readme_command() {
    local command
    command=$(sed -n "/<!-- command: $1 -->/,/^\`\`\`\$/p" README.md | grep -v -e '<!--' -e '```')
    if [ -z "$command" ] || [ "$(printf '%s\n' "$command" | wc -l)" -ne 1 ]; then
        echo "README.md has no line of one command after the mark 'command: $1'." >&2
        return 1
    fi
    printf '%s\n' "$command"
}

# Prints the table of the lanes, and as the last line the sum; the exit status says whether all passed.
finish() {
    printf '\n=== all lanes, %s min\n' "$(awk "BEGIN { printf \"%.1f\", $SECONDS / 60 }")"
    cat "$work/lanes"
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}
