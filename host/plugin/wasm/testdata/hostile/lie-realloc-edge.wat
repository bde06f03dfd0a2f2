;; cabi_realloc gives the last byte of memory.
(module
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param $old i32) (param $oldsize i32) (param $align i32) (param $size i32) (result i32)
    (if (result i32) (i32.eq (local.get $align) (i32.const 1)) (then (i32.const 65535)) (else (i32.const 1024))))
  (func (export "carl:plugin/mapper@0.1.0#map-steps") (param $steps i32) (param $n i32) (result i32)
    (i32.const 1024)))
