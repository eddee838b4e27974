# ./hwb at the root, with stand-ins for the programs that it calls.
. "$(dirname "$0")/lib.sh"
wrapper=$HWB_HOME/hwb
[ -x "$wrapper" ] || { echo "skipped: no source tree here"; exit 77; }
unset HWB_HOME
export HWB_BUILD=$work/build
mkdir -p fake build/bin

stand_in() { # NAME, its script on stdin
    { echo '#!/bin/sh'; cat; } >"fake/$1"
    chmod +x "fake/$1"
}
call() {
    last="./hwb $*"
    PATH=$work/fake:$PATH "$wrapper" "$@" >"$work/.out" 2>"$work/.err" </dev/null
    status=$?
    out=$(cat "$work/.out")
    err=$(cat "$work/.err")
}

# up to date: the program starts at once, with the words as they are
printf '#!/bin/sh\necho "program in $HWB_HOME:" "$@"\nexit 9\n' >build/bin/hwb
chmod +x build/bin/hwb
touch build/.up-to-date
call run 'a b.lua' --set x=1
is 9
out_has "program in ${wrapper%/hwb}: run a b.lua --set x=1"
[ -z "$err" ] || fail "an up-to-date tree says something"

# a source newer than the stamp: built again, quietly
stand_in cmake <<'EOF'
echo "cmake $*" >>"$HWB_BUILD/calls"
EOF
touch build/build.ninja
touch -d '2000-01-01' build/.up-to-date
call version
is 9
has "$(cat build/calls)" "cmake --build $HWB_BUILD --target hwb" "the calls of cmake"
[ -z "$err" ] || fail "a rebuild that went well says something"
rm build/calls
call version
ok "no second build" [ ! -e build/calls ]

# a build that fails: one place to look, the program does not start
touch -d '2000-01-01' build/.up-to-date
stand_in cmake <<'EOF'
echo "x.c:3: error: no such thing"
exit 1
EOF
call version
is 1
err_has "error: no such thing" "$HWB_BUILD/log.txt"
[ -z "$out" ] || fail "the program ran after a failed build"
call version
is 1

# packages missing, and no right to install them: the command, and nothing else
rm -rf build
stand_in dpkg-query <<'EOF'
exit 1
EOF
stand_in id <<'EOF'
echo 1000
EOF
stand_in sudo <<'EOF'
exit 1
EOF
call version
is 1
err_has "sudo apt-get install --no-install-recommends" "libdnnl-dev" "libopenblas-openmp-dev"
err_lacks busted
call test
is 1
err_has "lua-busted" "libcmocka-dev"

# the right to install them: apt-get, its list of packages brought up to date when it must be
stand_in id <<'EOF'
echo 0
EOF
stand_in apt-get <<'EOF'
echo "apt-get $*" >>"$HWB_BUILD/apt"
case $1 in update) touch "$HWB_BUILD/updated" ;; *) [ -e "$HWB_BUILD/updated" ] ;; esac
EOF
stand_in cmake <<'EOF'
mkdir -p "$HWB_BUILD/bin"
printf '#!/bin/sh\necho built\n' >"$HWB_BUILD/bin/hwb"
chmod +x "$HWB_BUILD/bin/hwb"
EOF
call version
is 0
[ "$out" = built ] || fail "the program did not run"
[ "$(cut -d' ' -f2 build/apt | tr '\n' ' ')" = "install update install " ] || fail "apt-get: $(cat build/apt)"
