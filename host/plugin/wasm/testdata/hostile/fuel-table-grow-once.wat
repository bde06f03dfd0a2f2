;; Grows a table by four thousand million entries.
(module
  (memory (export "memory") 1)
  (global $next (mut i32) (i32.const 32768))
  (table 0 funcref)
  (func (export "cabi_realloc") (param $old i32) (param $oldsize i32) (param $align i32) (param $size i32) (result i32)
    (local $p i32)
    (local.set $p (i32.and (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1))) (i32.sub (i32.const 0) (local.get $align))))
    (global.set $next (i32.add (local.get $p) (local.get $size)))
    (local.get $p))
  (func (export "carl:plugin/mapper@0.1.0#map-steps") (param $steps i32) (param $n i32) (result i32)
    (if (i32.eq (table.grow 0 (ref.null func) (i32.const 4294967295)) (i32.const -1)) (then unreachable))
    (i32.const 1024)))
