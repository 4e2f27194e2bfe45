#!/bin/sh
# Checks the protocols in *.pml by spin, and that spin finds the mistakes that each can be built with.
# Arguments: a folder for what is built. The last line: N passed, N failed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
out=$1
passed=0
failed=0

if ! command -v spin > /dev/null; then
    echo "skipped the protocols in tests/model/*.pml: spin is not on the PATH (Debian: spin)"
    echo "0 passed, 0 failed"
    exit 0
fi

# verify NAME FLAG: runs the model; 0 when it holds, 1 when spin found an error, 2 when it broke.
verify() {
    folder="$out/$1$2"
    mkdir -p "$folder"
    (
        cd "$folder" || exit 2
        rm -f ./*.trail
        spin ${2:+-D$2} -a "$here/$1.pml" > spin.log 2>&1 || exit 2
        ${CC:-cc} -O1 -w -DSAFETY -o pan pan.c > cc.log 2>&1 || exit 2
        ./pan -m100000 > pan.log 2>&1 || exit 2
        grep -q "max search depth too small" pan.log && exit 2
        grep -q "errors: 0" pan.log
    )
}

# check NAME FLAG WANTED TEXT
check() {
    verify "$1" "$2"
    got=$?
    if [ "$got" -eq "$3" ]; then
        passed=$((passed + 1))
        echo "ok spin: $1: $4"
    else
        failed=$((failed + 1))
        cat "$out/$1$2"/*.log | sed 's/^/# /' | tail -40
        echo "not ok spin: $1: $4 (wanted $3, got $got)"
    fi
}

check group "" 0 "each call gets its place"
check group LOST 1 "without the second look a call waits for ever, and spin finds it"
check group SLEEPY 1 "a pump that does not count the others loses a call, and spin finds it"
check group MUTE 1 "a pump that gives up and tells nobody loses a call, and spin finds it"
check warden "" 0 "each mail is read"
check warden EARLY 1 "looking before going to sleep, not after, loses a mail, and spin finds it"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
