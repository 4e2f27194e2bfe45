//! Components whose behaviour is what they ask of the host.

/// Calls the host so many times in a straight line, where no check of the epoch is:
/// `run: func()`. Each call copies a name of so many bytes; it is `fields.has` of `wasi:http`.
pub fn straight(calls: usize, bytes: usize) -> String {
    let calls = "(drop (call $has (local.get $h) (i32.const 0) (i32.const BYTES)))\n"
        .replace("BYTES", &bytes.to_string())
        .repeat(calls);
    format!(
        r#"(component
  (import "wasi:http/types@0.2.0" (instance $http
    (export "fields" (type $fields (sub resource)))
    (export "[constructor]fields" (func (result (own $fields))))
    (export "[method]fields.has" (func
      (param "self" (borrow $fields)) (param "name" string) (result bool)))))
  (core module $mem (memory (export "memory") 32))
  (core instance $mem (instantiate $mem))
  (alias core export $mem "memory" (core memory $memory))
  (core func $new (canon lower (func $http "[constructor]fields")))
  (core func $has (canon lower (func $http "[method]fields.has") (memory $memory)))
  (core module $m
    (import "host" "new" (func $new (result i32)))
    (import "host" "has" (func $has (param i32 i32 i32) (result i32)))
    (func (export "run") (local $h i32)
      (local.set $h (call $new))
      {calls}))
  (core instance $i (instantiate $m (with "host" (instance
    (export "new" (func $new)) (export "has" (func $has))))))
  (func (export "run") (canon lift (core func $i "run"))))"#
    )
}

/// Makes and drops so many handles in a straight line: `run: func()`.
pub fn straight_handles(handles: usize) -> String {
    let handles = "(call $drop (call $new (i32.const 1)))\n".repeat(handles);
    format!(
        r#"(component
  (type $r (resource (rep i32)))
  (core func $new (canon resource.new $r))
  (core func $drop (canon resource.drop $r))
  (core module $m
    (import "host" "new" (func $new (param i32) (result i32)))
    (import "host" "drop" (func $drop (param i32)))
    (func (export "run") {handles}))
  (core instance $i (instantiate $m (with "host" (instance
    (export "new" (func $new)) (export "drop" (func $drop))))))
  (func (export "run") (canon lift (core func $i "run"))))"#
    )
}

/// Makes HTTP messages: `maps: func(count: u32, drop: bool)` makes maps of 100,000 bytes each and
/// drops each one or none, `clones: func(count: u32)` makes one and copies of it, `authority:
/// func(bytes: u32) -> u32` sets one of so many bytes and says whether that was refused.
pub fn messages() -> String {
    r#"(component
  (import "wasi:http/types@0.2.0" (instance $http
    (export "fields" (type $fields (sub resource)))
    (type $cases (variant (case "invalid-syntax") (case "forbidden") (case "immutable")))
    (export "header-error" (type $header-error (eq $cases)))
    (export "outgoing-request" (type $request (sub resource)))
    (export "[constructor]fields" (func (result (own $fields))))
    (export "[method]fields.append" (func (param "self" (borrow $fields)) (param "name" string)
      (param "value" (list u8)) (result (result (error $header-error)))))
    (export "[method]fields.clone" (func (param "self" (borrow $fields)) (result (own $fields))))
    (export "[constructor]outgoing-request" (func (param "headers" (own $fields))
      (result (own $request))))
    (export "[method]outgoing-request.set-authority" (func (param "self" (borrow $request))
      (param "authority" (option string)) (result (result))))))
  (alias export $http "fields" (type $fields))
  (core module $mem (memory (export "memory") 4)
    (func $fill (memory.fill (i32.const 0) (i32.const 97) (i32.const 200000)))
    (start $fill))
  (core instance $mem (instantiate $mem))
  (alias core export $mem "memory" (core memory $memory))
  (core func $new (canon lower (func $http "[constructor]fields")))
  (core func $append (canon lower (func $http "[method]fields.append") (memory $memory)))
  (core func $clone (canon lower (func $http "[method]fields.clone")))
  (core func $drop (canon resource.drop $fields))
  (core func $request (canon lower (func $http "[constructor]outgoing-request")))
  (core func $authority (canon lower
    (func $http "[method]outgoing-request.set-authority") (memory $memory)))
  (core module $m
    (import "host" "new" (func $new (result i32)))
    (import "host" "append" (func $append (param i32 i32 i32 i32 i32 i32)))
    (import "host" "clone" (func $clone (param i32) (result i32)))
    (import "host" "drop" (func $drop (param i32)))
    (import "host" "request" (func $request (param i32) (result i32)))
    (import "host" "authority" (func $authority (param i32 i32 i32 i32) (result i32)))
    (func $map (result i32) (local $map i32)
      (local.set $map (call $new))
      (call $append (local.get $map) (i32.const 0) (i32.const 4) (i32.const 16) (i32.const 100000)
        (i32.const 220000))
      (local.get $map))
    (func (export "maps") (param $count i32) (param $dropped i32) (local $map i32)
      (loop $next
        (local.set $map (call $map))
        (if (local.get $dropped) (then (call $drop (local.get $map))))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br_if $next (local.get $count))))
    (func (export "clones") (param $count i32) (local $map i32)
      (local.set $map (call $map))
      (loop $next
        (drop (call $clone (local.get $map)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br_if $next (local.get $count))))
    (func (export "authority") (param $bytes i32) (result i32)
      (call $authority (call $request (call $new)) (i32.const 1) (i32.const 0) (local.get $bytes))))
  (core instance $i (instantiate $m (with "host" (instance
    (export "new" (func $new)) (export "append" (func $append)) (export "clone" (func $clone))
    (export "drop" (func $drop)) (export "request" (func $request))
    (export "authority" (func $authority))))))
  (func (export "maps") (param "count" u32) (param "drop" bool)
    (canon lift (core func $i "maps")))
  (func (export "clones") (param "count" u32) (canon lift (core func $i "clones")))
  (func (export "authority") (param "bytes" u32) (result u32)
    (canon lift (core func $i "authority"))))"#
        .into()
}

/// Asks for so many bytes of randomness: `random: func(bytes: u64)`.
pub fn random() -> String {
    r#"(component
  (import "wasi:random/random@0.2.0" (instance $random
    (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
  (core module $mem (memory (export "memory") 64)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536)))
  (core instance $mem (instantiate $mem))
  (alias core export $mem "memory" (core memory $memory))
  (alias core export $mem "realloc" (core func $realloc))
  (core func $random (canon lower
    (func $random "get-random-bytes") (memory $memory) (realloc $realloc)))
  (core module $m
    (import "host" "random" (func $random (param i64 i32)))
    (func (export "random") (param $bytes i64) (call $random (local.get $bytes) (i32.const 16))))
  (core instance $i (instantiate $m (with "host" (instance (export "random" (func $random))))))
  (func (export "random") (param "bytes" u64) (canon lift (core func $i "random"))))"#
        .into()
}

/// Tells its environment: `look: func() -> tuple<u32, list<tuple<string, string>>>`, how often this
/// instance has looked and the variables with their values.
pub fn environment() -> String {
    r#"(component
  (import "wasi:cli/environment@0.2.0" (instance $cli
    (export "get-environment" (func (result (list (tuple string string)))))))
  (core module $mem
    (memory (export "memory") 2)
    (global $free (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
      (global.set $free (i32.add (local.get $at) (local.get 3)))
      (local.get $at)))
  (core instance $mem (instantiate $mem))
  (alias core export $mem "memory" (core memory $memory))
  (alias core export $mem "realloc" (core func $realloc))
  (core func $get (canon lower (func $cli "get-environment")
    (memory $memory) (realloc $realloc)))
  (core module $m
    (import "host" "memory" (memory 2))
    (import "host" "get" (func $get (param i32)))
    (global $looks (mut i32) (i32.const 0))
    (func (export "look") (result i32)
      (global.set $looks (i32.add (global.get $looks) (i32.const 1)))
      (i32.store (i32.const 16) (global.get $looks))
      (call $get (i32.const 20))
      (i32.const 16)))
  (core instance $i (instantiate $m (with "host" (instance
    (export "memory" (memory $memory)) (export "get" (func $get))))))
  (func (export "look") (result (tuple u32 (list (tuple string string))))
    (canon lift (core func $i "look") (memory $memory))))"#
        .into()
}
