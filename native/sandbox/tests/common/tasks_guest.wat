;; A component of WASI 0.3: asynchronous functions, by the callback form of the canonical ABI.
(component
  (import "wasi:clocks/monotonic-clock@0.3.0" (instance $clock
    (export "wait-for" (func async (param "how-long" u64)))))
  (import "wasi:cli/types@0.3.0" (instance $types
    (type $code (enum "io" "illegal-byte-sequence" "pipe"))
    (export "error-code" (type (eq $code)))))
  (alias export $types "error-code" (type $code))
  (import "wasi:cli/stderr@0.3.0" (instance $stderr
    (export "error-code" (type $c (eq $code)))
    (type $bytes (stream u8))
    (type $ended (result (error $c)))
    (type $future (future $ended))
    (export "write-via-stream" (func (param "data" $bytes) (result $future)))))
  (type $bytes (stream u8))
  (type $nothing (future))
  (type $ended (result (error $code)))
  (type $told (future $ended))

  (core module $memory
    (memory (export "memory") 2)
    (global $next (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (local.get $at)))
  (core instance $memory (instantiate $memory))
  (alias core export $memory "memory" (core memory $m))

  (core func $wait-for (canon lower (func $clock "wait-for") async))
  (core func $write-log (canon lower (func $stderr "write-via-stream")))
  (core func $set-new (canon waitable-set.new))
  (core func $join (canon waitable.join))
  (core func $subtask-drop (canon subtask.drop))
  (core func $return (canon task.return))
  (core func $return-u32 (canon task.return (result u32)))
  (core func $return-text (canon task.return (result string) (memory $m)))
  (core func $return-stream (canon task.return (result $bytes)))
  (core func $stream-new (canon stream.new $bytes))
  (core func $stream-write (canon stream.write $bytes async (memory $m)))
  (core func $stream-close (canon stream.drop-writable $bytes))
  (core func $told-close (canon future.drop-readable $told))
  (core func $future-new (canon future.new $nothing))

  (core module $guest
    (import "memory" "memory" (memory 2))
    (import "host" "wait-for" (func $wait-for (param i64) (result i32)))
    (import "host" "write-log" (func $write-log (param i32) (result i32)))
    (import "host" "set-new" (func $set-new (result i32)))
    (import "host" "join" (func $join (param i32 i32)))
    (import "host" "subtask-drop" (func $subtask-drop (param i32)))
    (import "host" "return" (func $return))
    (import "host" "return-u32" (func $return-u32 (param i32)))
    (import "host" "return-text" (func $return-text (param i32 i32)))
    (import "host" "return-stream" (func $return-stream (param i32)))
    (import "host" "stream-new" (func $stream-new (result i64)))
    (import "host" "stream-write" (func $stream-write (param i32 i32 i32) (result i32)))
    (import "host" "stream-close" (func $stream-close (param i32)))
    (import "host" "told-close" (func $told-close (param i32)))
    (import "host" "future-new" (func $future-new (result i64)))

    ;; What the callback returns: 0 the task ends, 1 it yields, 2 it waits for the set above.
    (global $calls (mut i32) (i32.const 0))

    ;; Gives its argument back.
    (func (export "text") (param i32 i32) (result i32)
      (call $return-text (local.get 0) (local.get 1))
      (i32.const 0))

    ;; Returns after so many nanoseconds.
    (func (export "sleep") (param $nanoseconds i64) (result i32)
      (local $set i32) (local $task i32)
      (local.set $set (call $set-new))
      (local.set $task (i32.shr_u (call $wait-for (local.get $nanoseconds)) (i32.const 4)))
      (call $join (local.get $task) (local.get $set))
      (i32.or (i32.const 2) (i32.shl (local.get $set) (i32.const 4))))
    (func (export "slept") (param $event i32) (param $task i32) (param $state i32) (result i32)
      ;; The event of a subtask, and that it has returned.
      (if (i32.ne (local.get $event) (i32.const 1)) (then unreachable))
      (if (i32.ne (local.get $state) (i32.const 2)) (then (return (i32.const 1))))
      (call $subtask-drop (local.get $task))
      (call $return-u32 (i32.const 7))
      (i32.const 0))

    ;; How often it was called in this instance.
    (func (export "count") (result i32)
      (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      (call $return-u32 (global.get $calls))
      (i32.const 0))
    ;; The same, and goes on for ever.
    (func (export "linger") (result i32)
      (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      (call $return-u32 (global.get $calls))
      (i32.const 1))
    (func (export "yield") (param i32 i32 i32) (result i32) (i32.const 1))

    (func (export "spin") (result i32) (loop (br 0)) (i32.const 0))
    (func (export "yields") (result i32) (i32.const 1))
    ;; Waits for nothing at all.
    (func (export "stuck") (result i32)
      (i32.or (i32.const 2) (i32.shl (call $set-new) (i32.const 4))))

    (func (export "tasks") (result i32)
      (loop (drop (call $wait-for (i64.const 3600000000000))) (br 0))
      (i32.const 0))
    (func (export "futures") (result i32) (loop (drop (call $future-new)) (br 0)) (i32.const 0))
    (func (export "sets") (result i32) (loop (drop (call $set-new)) (br 0)) (i32.const 0))

    ;; Writes so many bytes to standard error.
    (func (export "log") (param $bytes i32) (result i32)
      (local $ends i64) (local $writer i32)
      (memory.fill (i32.const 32768) (i32.const 120) (local.get $bytes))
      (local.set $ends (call $stream-new))
      (local.set $writer (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))))
      (call $told-close (call $write-log (i32.wrap_i64 (local.get $ends))))
      (drop (call $stream-write (local.get $writer) (i32.const 32768) (local.get $bytes)))
      (call $stream-close (local.get $writer))
      (call $return)
      (i32.const 0))

    (func (export "stream") (result i32)
      (call $return-stream (i32.wrap_i64 (call $stream-new)))
      (i32.const 0))
    (func (export "none") (param i32 i32 i32) (result i32) unreachable))

  (core instance $guest (instantiate $guest
    (with "memory" (instance $memory))
    (with "host" (instance
      (export "wait-for" (func $wait-for))
      (export "write-log" (func $write-log))
      (export "set-new" (func $set-new))
      (export "join" (func $join))
      (export "subtask-drop" (func $subtask-drop))
      (export "return" (func $return))
      (export "return-u32" (func $return-u32))
      (export "return-text" (func $return-text))
      (export "return-stream" (func $return-stream))
      (export "stream-new" (func $stream-new))
      (export "stream-write" (func $stream-write))
      (export "stream-close" (func $stream-close))
      (export "told-close" (func $told-close))
      (export "future-new" (func $future-new))))))

  (func (export "text") async (param "s" string) (result string)
    (canon lift (core func $guest "text") async (callback (core func $guest "none"))
      (memory $m) (realloc (core func $memory "realloc"))))
  (func (export "sleep") async (param "nanoseconds" u64) (result u32)
    (canon lift (core func $guest "sleep") async (callback (core func $guest "slept"))))
  (func (export "count") async (result u32)
    (canon lift (core func $guest "count") async (callback (core func $guest "none"))))
  (func (export "linger") async (result u32)
    (canon lift (core func $guest "linger") async (callback (core func $guest "yield"))))
  (func (export "spin") async
    (canon lift (core func $guest "spin") async (callback (core func $guest "none"))))
  (func (export "yields") async
    (canon lift (core func $guest "yields") async (callback (core func $guest "yield"))))
  (func (export "stuck") async
    (canon lift (core func $guest "stuck") async (callback (core func $guest "none"))))
  (func (export "tasks") async
    (canon lift (core func $guest "tasks") async (callback (core func $guest "none"))))
  (func (export "futures") async
    (canon lift (core func $guest "futures") async (callback (core func $guest "none"))))
  (func (export "sets") async
    (canon lift (core func $guest "sets") async (callback (core func $guest "none"))))
  (func (export "log") async (param "bytes" u32)
    (canon lift (core func $guest "log") async (callback (core func $guest "none"))))
  (func (export "stream") async (result $bytes)
    (canon lift (core func $guest "stream") async (callback (core func $guest "none"))))
)
