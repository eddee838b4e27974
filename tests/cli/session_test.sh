# The session on a pseudo-terminal.
. "$(dirname "$0")/lib.sh"

# echo, continuation, locals, silence, the last values
pty_script <<'EOF'
expect ?: a tour
expect hwb> 
send 1+1\n
expect 2
expect hwb> 
send x = {1, 2, {a = 3}}\n
send x\n
expect {1, 2, {a = 3}}
send for i = 1, 2 do\n
expect >> 
send print(i * 10)\n
expect >> 
send end\n
expect 20
send local q <const> = 1; local r, s = 5\n
send r, s\n
expect 5
expect nil
send 6*7\n
expect 42
send _ + _1\n
expect 84
send 11*11;\n
expect hwb> 
absent 121
send _\n
expect 121
send =3+4\n
expect 7
send "text"\n
expect "text"
send x.x = x\n
send x\n
expect cycle
send {1,{2,{3,{4}}}}\n
expect {…}
send f = function(\n
expect >> 
send \n
expect hwb> 
send print((", "):rep(2))\n
expect , , 
expect hwb> 
send \x04
exit 0
EOF

# errors are one line first, then the traceback; :bt has it all
pty_script <<'EOF'
expect hwb> 
send function f() error("deep") end\n
send function g() f() end\n
send g()\n
expect deep
expect function 'f'
absent session.lua
send :bt\n
expect session.lua
send )\n
expect unexpected symbol
send error({})\n
expect type table
send {1,\n
expect >> 
send 2}\n
expect {1, 2}
send 1 +* 2\n
expect unexpected symbol near '*'
send :quit\n
exit 0
EOF

# the profiler outlives the lines between on and off
pty_script <<'EOF'
expect hwb> 
send :profile on\n
send for i = 1, 3e6 do local x = math.sin(i) end\n
send :profile off\n
expect stdin:1
expect hwb> 
send \x04
exit 0
EOF

# Ctrl-C: at the prompt, in a continuation, in Lua, in a coroutine, in wrap of wrap
pty_script <<'EOF'
expect hwb> 
send y = 99\n
expect y = 99
expect hwb> 
send half a line\x03
expect ^C
expect hwb> 
send for i = 1, 3 do\n
expect >> 
send \x03
expect hwb> 
send while true do end\n
sleep 200
send \x03
expect interrupted
expect hwb> 
send co = coroutine.wrap(function() while true do end end) co()\n
sleep 200
send \x03
expect interrupted
send c2 = coroutine.create(function() coroutine.wrap(function() while true do end end)() end)\n
send coroutine.resume(c2)\n
sleep 200
send \x03
expect interrupted
send pcall(function() while true do end end)\n
sleep 200
send \x03
expect false
send y\n
expect 99
send while true do pcall(function() while true do end end) end\n
sleep 200
send \x03
expect interrupted
send coroutine.wrap(function() while true do pcall(function() while true do end end) end end)()\n
sleep 200
send \x03
expect interrupted
send while true do pcall(coroutine.wrap(function() while true do xpcall(function() while true do end end, print) end end)) end\n
sleep 200
send \x03
expect hwb> 
send m = hwb.models.c1{} while true do pcall(function() while true do m(hwb.zeros(64, 3, 32, 32)) end end) end\n
sleep 500
send \x03
expect interrupted
send for i = 1, 3000000 do y = y + 1 end\n
send y - 3000000\n
expect 99
expect hwb> 
sleep 50
signal INT
expect ^C
send y + 1\n
expect 100
expect hwb> 
send \x04
exit 0
EOF

# Ctrl-C inside an engine call: the solver stops, what there was is still there
pty_script <<'EOF'
expect hwb> 
send m = hwb.models.resnet20{}; x = hwb.randn(64, 3, 32, 32); y = hwb.ones(64):to("int64")\n
send H = hwb.hessian(m, {loss = "cross_entropy", data = {x, y}})\n
expect H = 
expect hwb> 
send e = H:eigs{k = 3, maxiter = 5000, tol = 1e-15}\n
sleep 2500
send \x03
expect interrupted
expect hwb> 
send H.n\n
expect 269722
expect hwb> 
send \x04
exit 0
EOF

# a second press explains, a third leaves
pty_script <<'EOF'
expect hwb> 
send ("x"):rep(36):find(("x*"):rep(30) .. "y")\n
sleep 300
send \x03
sleep 100
send \x03
expect again to leave
send \x03
exit 130
EOF
pty_script <<'EOF'
expect hwb> 
signal TERM
exit 143
EOF

# completion
mkdir -p data_folder
touch data_folder/weights.pth
cat >rec.lua <<'EOF'
return {args = {bits = 4, epochs = 2}, run = function() end}
EOF
pty_script <<'EOF'
expect hwb> 
send string.fo\t
expect string.format(
send "%d", 7)\n
expect "7"
send state = {["layer1.weight"] = 1, ["layer1.bias"] = 2}\n
send state["layer1.w\t
expect layer1.weight
send "]\n
expect 1
send io.open("data_fol\t
expect data_folder/
send wei\t
expect weights.pth
send \x03
expect hwb> 
send ret\t
expect return
send \x03
expect hwb> 
send trap = setmetatable({}, {__index = function() error("a metamethod ran") end})\n
expect ran
expect hwb> 
send trap.a\t
sleep 100
absent a metamethod ran
send \x03
expect hwb> 
send :ti\t
expect :time
send \x03
expect hwb> 
send :run rec.lua --b\t
expect --bits
send \x03
expect hwb> 
send hwb.js\t
expect hwb.json.
send enc\t
expect encode(
send \x03
expect hwb> 
send \x04
exit 0
EOF

# commands
pty_script <<'EOF'
expect hwb> 
send :tim 1\n
expect did you mean ':time'
send :time 2+2\n
expect 4
expect wall
send alpha = "a"; beta = {1}\n
send :who\n
expect alpha
expect beta
send :mem\n
expect Lua heap
send :dev\n
expect cpu
send :help\n
expect :save FILE
send total = 0\n
send for i = 1, 4 do total = total + i end\n
send total\n
expect 10
send :save kept.lua\n
expect hwb run kept.lua
send :run rec.lua\n
expect done; everything is in
send quit\n
exit 0
EOF
run run kept.lua
is 0
out_has 10

# history: kept, private, adjacent repeats once, several lines as one
ok "the history file" [ -s state/hwb/history ]
[ "$(stat -c %a state/hwb/history)" = 600 ] || fail "the history file's mode"
rm state/hwb/history
pty_script <<'EOF'
expect hwb> 
send 1\n
send 1\n
send do\n
expect >> 
send z = 5\n
expect >> 
send end\n
expect end
expect hwb> 
send \x04
exit 0
EOF
[ "$(cat state/hwb/history)" = '1
do\nz = 5\nend' ] || fail "history is: $(cat state/hwb/history)"
pty_script <<'EOF'
expect hwb> 
send \x12
expect i-search
send z =
expect z = 5
send \n
sleep 300
send z\n
expect 5
send \x10\x10\n
expect hwb> 
sleep 50
send \x04
exit 0
EOF
rm state/hwb/history
HWB_HISTORY="" pty_script <<'EOF'
expect hwb> 
send 1\n
expect 1
expect hwb> 
send \x04
exit 0
EOF
ok "HWB_HISTORY= turns it off" [ ! -e state/hwb/history ]

# pasted prompts, bracketed paste, a narrower window, prompts of one's own
pty_script <<'EOF'
expect hwb> 
send hwb> 20+3\n
expect 23
send \e[200~40+\n2\e[201~\n
expect 42
resize 24 30
send 1000+1\n
expect 1001
send _PROMPT = "mine> "\n
expect mine> "
expect mine> 
send \x04
exit 0
EOF

# stopped and continued: the line that was begun is still there
pty_script <<'EOF'
expect hwb> 
send 40 +
expect 40 +
signal STOP
sleep 100
signal CONT
expect 40 +
send  2\n
expect 42
expect hwb> 
send \x04
exit 0
EOF
out=$(echo 'print(6 * 7)' | "$hwb" -i --no-rc 2>&1)
has "$out" 42 "the output of -i with piped input"

# start-up file; --no-rc; colours
mkdir -p config/hwb
echo 'greeting = "from init"' >config/hwb/init.lua
pty_script <<'EOF'
expect hwb> 
send greeting\n
expect "from init"
expect hwb> 
send \x04
exit 0
EOF
pty_args=--no-rc
pty_script <<'EOF'
expect hwb> 
send greeting\n
expect hwb> 
absent from init
send \x04
exit 0
EOF
pty_args='-i -e start=12'
pty_script <<'EOF'
expect hwb> 
send start\n
expect 12
expect hwb> 
send \x04
exit 0
EOF
pty_args=
count_colours() { printf 'quit\n' | script -qc "env $1 $hwb" /dev/null 2>/dev/null | grep -c $'\033\[1m'; }
if command -v script >/dev/null; then
    [ "$(count_colours TERM=xterm)" -gt 0 ] || fail "no colours on a terminal"
    [ "$(count_colours 'TERM=xterm NO_COLOR=1')" = 0 ] || fail "colours in spite of NO_COLOR"
    [ "$(count_colours TERM=dumb)" = 0 ] || fail "colours on a dumb terminal"
    [ "$(count_colours 'TERM=xterm NO_COLOR=1 FORCE_COLOR=1')" = 0 ] || fail "NO_COLOR does not win"
fi

# help: layers, modules, options of a function, searches with the likeliest first
pty_script <<'EOF'
expect hwb> 
send ?hwb.nn.Conv2d\n
expect in_channels   integer
expect Example
send ?hwb.plot\n
expect hwb.plot.line
absent hwb.landscape.plot
expect hwb.plot.show
send ?hwb.hessian\n
expect weight_decay?
expect Returns
send ?*eig*\n
expect Operator:eigs
absent CurvatureOptions.weight_decay
send hwb.data.shapes10{}\n
expect dataset shapes10: 10000 samples of 3x32x32, 10 classes
send m = hwb.nn.Linear(3, 2) H = hwb.hessian(m, {data = {hwb.randn(4, 3), hwb.ones(4, {dtype = "int64"})}})\n
send H\n
expect hessian: 8 x 8, float32, bn eval
send m\n
expect Linear 2x3 (8 parameters)
send :time H:apply(hwb.ones(2, 8)):size()\n
expect 2x8
expect 2 HVPs
send :who\n
expect 32 B
expect operator
send hwb.randn(8, 8, 3, 3)\n
expect 62 more
send hwb.no_such_thing\n
expect nil
send fig = hwb.plot.line{y = {1, 4, 9}, title = "Squares"}\n
send fig\n
expect Squares
expect └
send fig;\n
absent └
send 1 + 1\n
expect 2
send local c <const>, d = 40, 2\n
send c + d\n
expect 42
send 'unclosed\n
expect unfinished string
send 'two\\\n
expect >> 
send lines'\n
expect "two\nlines"
send t = {} for i = 1, 100 do t[i] = i end\n
send t\n
expect 1, 2, 3, 4
expect 60 more
send error()\n
expect without a value
send hwb.models.requ\t\x15\n
absent require
expect hwb> 
send \x04
exit 0
EOF

# a landscape that is interrupted leaves the weights as they were
pty_script <<'EOF'
expect hwb> 
send m = hwb.models.resnet20{} w = m:flat_parameters()\n
send H = hwb.hessian(m, {data = {hwb.randn(64, 3, 32, 32), hwb.ones(64, {dtype = "int64"})}})\n
send hwb.landscape.surface(H, {points = 61, second_order = false})\n
sleep 2500
send \x03
expect interrupted
send w == m:flat_parameters()\n
expect true
send hwb.landscape.line(H, {points = 3, second_order = false}).loss\n
expect tensor 3 float64
expect hwb> 
send \x04
exit 0
EOF
