//! Components as text, each for one behaviour.

/// Memory, a bump allocator and helpers for strings; `body` goes inside of the core module.
fn module(imports: &str, body: &str) -> String {
    format!(
        r#"(core module $m
  {imports}
  (memory (export "memory") 2)
  (global $free (mut i32) (i32.const 4096))
  (func $realloc (export "realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
    (global.set $free (i32.add (local.get $at) (local.get $new)))
    (block $fits
      (br_if $fits (i32.le_u (global.get $free) (i32.mul (memory.size) (i32.const 65536))))
      (if (i32.eq (memory.grow (i32.add (i32.shr_u (local.get $new) (i32.const 16)) (i32.const 1))) (i32.const -1))
        (then (unreachable))))
    (memory.copy (local.get $at) (local.get $old) (local.get $size))
    (local.get $at))
  {body}
)
"#
    )
}

/// A component of one function `run: func()` with this core code.
pub fn run(body: &str) -> String {
    format!(
        r#"(component
  {}
  (core instance $i (instantiate $m))
  (func (export "run") (canon lift (core func $i "run"))))"#,
        module("", &format!("(func (export \"run\") {body})"))
    )
}

/// Never ends.
pub fn spin() -> String {
    run("(loop $l (br $l))")
}

/// Uses time: `busy: func(turns: u32)`.
pub fn busy() -> String {
    r#"(component
  (core module $m
    (func (export "busy") (param $turns i32)
      (loop $l
        (local.set $turns (i32.sub (local.get $turns) (i32.const 1)))
        (br_if $l (local.get $turns)))))
  (core instance $i (instantiate $m))
  (func (export "busy") (param "turns" u32) (canon lift (core func $i "busy"))))"#
        .into()
}

/// Recurses until the stack is used up.
pub fn recurse() -> String {
    run("(call $down)) (func $down (call $down) (call $down)")
}

/// Reaches `unreachable`.
pub fn trap() -> String {
    run("unreachable")
}

/// Grows its memory by a page again and again.
pub fn grow() -> String {
    run("(loop $l (drop (memory.grow (i32.const 1))) (br $l))")
}

/// `echo: func(data: list<u8>) -> list<u8>`, `text: func(s: string) -> string`,
/// `fallible: func(s: string) -> result<string, string>` (an empty text is an error),
/// `repeat: func(n: u32) -> string` (n letters), `sum: func(a: u32, b: u32) -> u32`.
pub fn echo() -> String {
    format!(
        r#"(component
  {}
  (core instance $i (instantiate $m))
  (alias core export $i "memory" (core memory $memory))
  (alias core export $i "realloc" (core func $realloc))
  (func (export "echo") (param "data" (list u8)) (result (list u8))
    (canon lift (core func $i "echo") (memory $memory) (realloc $realloc)))
  (func (export "text") (param "s" string) (result string)
    (canon lift (core func $i "echo") (memory $memory) (realloc $realloc)))
  (func (export "fallible") (param "s" string) (result (result string (error string)))
    (canon lift (core func $i "fallible") (memory $memory) (realloc $realloc)))
  (func (export "repeat") (param "n" u32) (result string)
    (canon lift (core func $i "repeat") (memory $memory) (realloc $realloc)))
  (func (export "sum") (param "a" u32) (param "b" u32) (result u32)
    (canon lift (core func $i "sum"))))"#,
        module(
            "",
            r#"
  (func $pair (param $ptr i32) (param $len i32) (result i32)
    (i32.store (i32.const 16) (local.get $ptr))
    (i32.store (i32.const 20) (local.get $len))
    (i32.const 16))
  (func (export "echo") (param $ptr i32) (param $len i32) (result i32)
    (call $pair (local.get $ptr) (local.get $len)))
  (func (export "fallible") (param $ptr i32) (param $len i32) (result i32)
    (i32.store (i32.const 32) (i32.eqz (local.get $len)))
    (i32.store (i32.const 36) (select (i32.const 64) (local.get $ptr) (i32.eqz (local.get $len))))
    (i32.store (i32.const 40) (select (i32.const 5) (local.get $len) (i32.eqz (local.get $len))))
    (i32.const 32))
  (data (i32.const 64) "empty")
  (func (export "repeat") (param $n i32) (result i32)
    (local $at i32)
    (local.set $at (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (local.get $n)))
    (memory.fill (local.get $at) (i32.const 97) (local.get $n))
    (call $pair (local.get $at) (local.get $n)))
  (func (export "sum") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))"#
        )
    )
}

/// Waits on the monotonic clock: `wait: func(ns: u64)`.
pub fn wait() -> String {
    waiting(
        r#"(func (export "wait") (param $ns i64)
    (call $block (call $subscribe (local.get $ns))))"#,
        "",
    )
}

/// The same with so many memories that are as small as can be.
pub fn wait_with_memories(memories: usize) -> String {
    let instances = "(core instance (instantiate $memory))\n".repeat(memories - 1);
    waiting(
        r#"(func (export "wait") (param $ns i64)
    (call $block (call $subscribe (local.get $ns))))"#,
        &format!("(core module $memory (memory 0))\n{instances}"),
    )
}

/// A component that can wait; `core` goes inside of its module and exports `wait`, `exports` are
/// more of the component's own.
fn waiting(core: &str, exports: &str) -> String {
    format!(
        r#"(component
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $pollable (type $p))
    (export "pollable" (type $pollable (eq $p)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  {}
  (core instance $i (instantiate $m (with "host" (instance
    (export "subscribe" (func $subscribe))
    (export "block" (func $block))))))
  (func (export "wait") (param "ns" u64) (canon lift (core func $i "wait")))
  {exports})"#,
        module(
            r#"(import "host" "subscribe" (func $subscribe (param i64) (result i32)))
  (import "host" "block" (func $block (param i32)))"#,
            core
        )
    )
}

/// Remembers: `next: func() -> u32` (1 in a fresh instance), `grow: func(pages: u32) -> u32` (pages
/// before), `trap: func()`, `spin: func()`, `wait: func(ns: u64)`,
/// `repeat: func(n: u32) -> string`; `start` is the code of its start function.
pub fn stateful(start: &str) -> String {
    let core = format!(
        r#"(global $calls (mut i32) (i32.const 0))
  (func $count (global.set $calls (i32.add (global.get $calls) (i32.const 1))))
  (func (export "next") (result i32) (call $count) (global.get $calls))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "trap") unreachable)
  (func (export "spin") (loop $l (br $l)))
  (func (export "wait") (param $ns i64)
    (call $count)
    (call $block (call $subscribe (local.get $ns))))
  (func (export "repeat") (param $n i32) (result i32)
    (local $at i32)
    (local.set $at (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (local.get $n)))
    (memory.fill (local.get $at) (i32.const 97) (local.get $n))
    (i32.store (i32.const 16) (local.get $at))
    (i32.store (i32.const 20) (local.get $n))
    (i32.const 16))
  (func $start {start})
  (start $start)"#
    );
    waiting(
        &core,
        r#"(alias core export $i "memory" (core memory $memory))
  (func (export "next") (result u32) (canon lift (core func $i "next")))
  (func (export "grow") (param "pages" u32) (result u32) (canon lift (core func $i "grow")))
  (func (export "trap") (canon lift (core func $i "trap")))
  (func (export "spin") (canon lift (core func $i "spin")))
  (func (export "repeat") (param "n" u32) (result string)
    (canon lift (core func $i "repeat") (memory $memory)))"#,
    )
}

/// Writes to standard output or error: `log: func(lines: u32, stderr: bool)`, each line
/// `a line of the log\n`.
pub fn log() -> String {
    r#"(component
  (import "wasi:io/error@0.2.0" (instance $error (export "error" (type (sub resource)))))
  (alias export $error "error" (type $error-type))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (alias outer 1 $error-type (type $e))
    (export "error" (type $error (eq $e)))
    (export "output-stream" (type $out (sub resource)))
    (type $failure (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $failure)))
    (export "[method]output-stream.blocking-write-and-flush" (func
      (param "self" (borrow $out)) (param "contents" (list u8))
      (result (result (error $stream-error)))))))
  (alias export $streams "output-stream" (type $out))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $out (type $o))
    (export "output-stream" (type $out (eq $o)))
    (export "get-stdout" (func (result (own $out))))))
  (import "wasi:cli/stderr@0.2.0" (instance $stderr
    (alias outer 1 $out (type $o))
    (export "output-stream" (type $out (eq $o)))
    (export "get-stderr" (func (result (own $out))))))
  (core module $mem (memory (export "memory") 2))
  (core instance $mem (instantiate $mem))
  (alias core export $mem "memory" (core memory $memory))
  (core func $get-stdout (canon lower (func $stdout "get-stdout")))
  (core func $get-stderr (canon lower (func $stderr "get-stderr")))
  (core func $write (canon lower
    (func $streams "[method]output-stream.blocking-write-and-flush") (memory $memory)))
  (core module $m
    (import "host" "memory" (memory 2))
    (import "host" "stdout" (func $stdout (result i32)))
    (import "host" "stderr" (func $stderr (result i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (data (i32.const 64) "a line of the log\n")
    (func (export "log") (param $lines i32) (param $err i32)
      (local $stream i32)
      (local.set $stream (if (result i32) (local.get $err)
        (then (call $stderr)) (else (call $stdout))))
      (block $done (loop $next
        (br_if $done (i32.eqz (local.get $lines)))
        (local.set $lines (i32.sub (local.get $lines) (i32.const 1)))
        (call $write (local.get $stream) (i32.const 64) (i32.const 18) (i32.const 16))
        (br $next)))))
  (core instance $i (instantiate $m (with "host" (instance
    (export "memory" (memory $memory))
    (export "stdout" (func $get-stdout))
    (export "stderr" (func $get-stderr))
    (export "write" (func $write))))))
  (func (export "log") (param "lines" u32) (param "stderr" bool)
    (canon lift (core func $i "log"))))"#
        .into()
}

/// Makes handles of a resource of its own: `make: func(n: u32)`.
pub fn handles() -> String {
    r#"(component
  (type $r (resource (rep i32)))
  (core func $new (canon resource.new $r))
  (core module $m
    (import "host" "new" (func $new (param i32) (result i32)))
    (func (export "make") (param $n i32)
      (loop $l
        (drop (call $new (i32.const 1)))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br_if $l (local.get $n)))))
  (core instance $i (instantiate $m (with "host" (instance (export "new" (func $new))))))
  (func (export "make") (param "n" u32) (canon lift (core func $i "make"))))"#
        .into()
}

/// Grows a table: `run: func()`.
pub fn tables() -> String {
    r#"(component
  (core module $m
    (table $a 1 funcref)
    (table $b 1 funcref)
    (func (export "run")
      (loop $l
        (drop (table.grow $a (ref.null func) (i32.const 100)))
        (drop (table.grow $b (ref.null func) (i32.const 100)))
        (br $l))))
  (core instance $i (instantiate $m))
  (func (export "run") (canon lift (core func $i "run"))))"#
        .into()
}

/// Two memories that only together go over a limit.
pub fn two_memories() -> String {
    r#"(component
  (core module $a (memory 32) (func (export "run")))
  (core instance $i (instantiate $a))
  (core instance $j (instantiate $a))
  (func (export "run") (canon lift (core func $i "run"))))"#
        .into()
}

/// Many core instances.
pub fn many_instances(count: usize) -> String {
    let instances = "(core instance (instantiate $a))\n".repeat(count);
    format!(
        r#"(component
  (core module $a (func (export "run")))
  (core instance $i (instantiate $a))
  {instances}
  (func (export "run") (canon lift (core func $i "run"))))"#
    )
}

/// Imports what does not exist.
pub fn unknown_imports() -> String {
    r#"(component
  (import "acme:store/items@1.0.0" (instance (export "get" (func))))
  (import "wasi:nn/graph@0.2.0" (instance (export "load" (func))))
  (import "wasi:cli/environment@0.2.0" (instance
    (export "get-arguments" (func (result (list string))))))
)"#
    .into()
}

/// One instruction that no epoch interrupts, over so many bytes: `fill: func(bytes: u32)`.
pub fn fill() -> String {
    r#"(component
  (core module $m
    (memory 960)
    (func (export "fill") (param $bytes i32)
      (memory.fill (i32.const 0) (i32.const 1) (local.get $bytes))))
  (core instance $i (instantiate $m))
  (func (export "fill") (param "bytes" u32) (canon lift (core func $i "fill"))))"#
        .into()
}

/// Counts the bytes it is given: `count: func(data: list<u8>) -> u32`.
pub fn count() -> String {
    format!(
        r#"(component
  {}
  (core instance $i (instantiate $m))
  (func (export "count") (param "data" (list u8)) (result u32)
    (canon lift (core func $i "count") (memory (core memory $i "memory"))
      (realloc (core func $i "realloc")))))"#,
        module(
            "",
            r#"(func (export "count") (param i32 i32) (result i32) (local.get 1))"#
        )
    )
}
