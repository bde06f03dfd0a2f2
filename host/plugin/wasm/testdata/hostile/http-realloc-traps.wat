;; cabi_realloc traps while the host writes a response.
(module
  (import "carl:plugin/http@0.1.0" "send" (func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (global $now (mut i32) (i32.const 0))
  (func (export "cabi_realloc") (param $old i32) (param $oldsize i32) (param $align i32) (param $size i32) (result i32)
    (if (global.get $now) (then unreachable))
    (i32.const 8192))
  (func (export "carl:plugin/forwarder@0.1.0#open") (param $ptr i32) (param $len i32) (result i32)
    (i32.const 1024))
  (func (export "carl:plugin/forwarder@0.1.0#deliver") (param $topic i32) (param $events i32) (param $n i32) (result i32)
    (global.set $now (i32.const 1))
    (call $send (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 2048))
    (i32.const 1024)))
