(module
  (import "wasi:http/types@0.2.0" "[method]incoming-request.path-with-query"
    (func $path (param i32 i32)))
  (import "wasi:http/types@0.2.0" "[method]incoming-request.consume"
    (func $consume (param i32 i32)))
  (import "wasi:http/types@0.2.0" "[method]incoming-body.stream"
    (func $body-stream (param i32 i32)))
  (import "wasi:http/types@0.2.0" "[constructor]fields" (func $fields (result i32)))
  (import "wasi:http/types@0.2.0" "[method]fields.append"
    (func $append (param i32 i32 i32 i32 i32 i32)))
  (import "wasi:http/types@0.2.0" "[constructor]outgoing-response"
    (func $response (param i32) (result i32)))
  (import "wasi:http/types@0.2.0" "[method]outgoing-response.body"
    (func $response-body (param i32 i32)))
  (import "wasi:http/types@0.2.0" "[method]outgoing-body.write"
    (func $body-write (param i32 i32)))
  (import "wasi:http/types@0.2.0" "[static]outgoing-body.finish"
    (func $finish (param i32 i32 i32 i32)))
  (import "wasi:http/types@0.2.0" "[static]response-outparam.set"
    (func $set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
  (import "wasi:io/streams@0.2.0" "[method]input-stream.blocking-read"
    (func $read (param i32 i64 i32)))
  (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush"
    (func $write (param i32 i32 i32 i32)))
  (import "wasi:io/streams@0.2.0" "[resource-drop]output-stream" (func $drop-out (param i32)))

  (memory (export "memory") 4)
  (global $free (mut i32) (i32.const 65536))
  (data (i32.const 1024) "hello")
  (data (i32.const 1040) "content-type")
  (data (i32.const 1056) "text/plain")
  (data (i32.const 1072) "x-bytes")
  (data (i32.const 1088) "\e4\f6\fc")

  ;; One buffer for whatever comes in next: nothing is kept across calls.
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (i32.const 65536))

  (func $letter (param $request i32) (result i32)
    (call $path (local.get $request) (i32.const 16))
    (i32.load8_u (i32.add (i32.load (i32.const 20)) (i32.const 1))))

  ;; Sets the response; gives back its body in global $body and its stream.
  (global $body (mut i32) (i32.const 0))
  (func $respond (param $out i32) (param $fields i32) (result i32)
    (local $response i32)
    (local.set $response (call $response (local.get $fields)))
    (call $response-body (local.get $response) (i32.const 16))
    (global.set $body (i32.load (i32.const 20)))
    (call $body-write (global.get $body) (i32.const 16))
    (call $set (local.get $out) (i32.const 0) (local.get $response) (i32.const 0) (i64.const 0)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
    (i32.load (i32.const 20)))

  (func $close (param $stream i32)
    (call $drop-out (local.get $stream))
    (call $finish (global.get $body) (i32.const 0) (i32.const 0) (i32.const 128)))

  (func $plain (result i32)
    (local $fields i32)
    (local.set $fields (call $fields))
    (call $append (local.get $fields) (i32.const 1040) (i32.const 12)
      (i32.const 1056) (i32.const 10) (i32.const 16))
    (call $append (local.get $fields) (i32.const 1072) (i32.const 7)
      (i32.const 1088) (i32.const 3) (i32.const 16))
    (local.get $fields))

  ;; Writes 4 KiB so many times; ends when the other side has gone.
  (func $stream (param $stream i32) (param $times i32)
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $times)))
      (call $write (local.get $stream) (i32.const 131072) (i32.const 4096) (i32.const 16))
      (br_if $done (i32.load8_u (i32.const 16)))
      (local.set $times (i32.sub (local.get $times) (i32.const 1)))
      (br $next))))

  (func $echo (param $request i32) (param $stream i32)
    (local $in i32)
    (call $consume (local.get $request) (i32.const 16))
    (call $body-stream (i32.load (i32.const 20)) (i32.const 16))
    (local.set $in (i32.load (i32.const 20)))
    (block $done (loop $next
      (call $read (local.get $in) (i64.const 4096) (i32.const 16))
      (br_if $done (i32.load8_u (i32.const 16)))
      (call $write (local.get $stream) (i32.load (i32.const 20)) (i32.load (i32.const 24))
        (i32.const 32))
      (br $next))))

  (func $flood (param $fields i32)
    (local $times i32)
    (loop $next
      (call $append (local.get $fields) (i32.const 1072) (i32.const 7)
        (i32.const 1056) (i32.const 10) (i32.const 16))
      (if (i32.load8_u (i32.const 16)) (then (return)))
      (local.set $times (i32.add (local.get $times) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $times) (i32.const 40000)))))

  (func (export "wasi:http/incoming-handler@0.2.0#handle") (param $request i32) (param $out i32)
    (local $letter i32) (local $stream i32) (local $fields i32)
    (local.set $letter (call $letter (local.get $request)))
    (if (i32.eq (local.get $letter) (i32.const 110)) (then (return)))
    (if (i32.eq (local.get $letter) (i32.const 108)) (then (loop $l (br $l))))
    (local.set $fields (call $plain))
    (if (i32.eq (local.get $letter) (i32.const 102)) (then (call $flood (local.get $fields))))
    (local.set $stream (call $respond (local.get $out) (local.get $fields)))
    (if (i32.eq (local.get $letter) (i32.const 101))
      (then (call $echo (local.get $request) (local.get $stream))))
    (if (i32.eq (local.get $letter) (i32.const 104))
      (then (call $write (local.get $stream) (i32.const 1024) (i32.const 5) (i32.const 16))))
    (if (i32.eq (local.get $letter) (i32.const 115))
      (then (call $stream (local.get $stream) (i32.const 256))))
    (if (i32.eq (local.get $letter) (i32.const 98))
      (then (call $stream (local.get $stream) (i32.const 256)) (loop $l (br $l))))
    (if (i32.eq (local.get $letter) (i32.const 116))
      (then (call $stream (local.get $stream) (i32.const 32)) (unreachable)))
    (call $close (local.get $stream)))
)
