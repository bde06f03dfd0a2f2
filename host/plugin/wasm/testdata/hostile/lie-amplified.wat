;; Thirty signals that each point at the same 900,000 bytes: a small memory that stands for more.
;; Each of the first is legal by itself.
(module
  (memory (export "memory") 15)
  (global $next (mut i32) (i32.const 32768))
  (func (export "cabi_realloc") (param $old i32) (param $oldsize i32) (param $align i32) (param $size i32) (result i32)
    (local $p i32)
    (local.set $p (i32.and (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1))) (i32.sub (i32.const 0) (local.get $align))))
    (global.set $next (i32.add (local.get $p) (local.get $size)))
    (local.get $p))
  (func (export "carl:plugin/mapper@0.1.0#map-steps") (param $steps i32) (param $n i32) (result i32)
    (local $i i32)
    (i32.store (i32.const 1028) (i32.const 2048))
    (i32.store (i32.const 1032) (i32.const 30))
    (loop $l
      (i32.store offset=2072 (i32.mul (local.get $i) (i32.const 32)) (i32.const 65536))
      (i32.store offset=2076 (i32.mul (local.get $i) (i32.const 32)) (i32.const 900000))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $l (i32.lt_u (local.get $i) (i32.const 30))))
    (i32.const 1024)))
