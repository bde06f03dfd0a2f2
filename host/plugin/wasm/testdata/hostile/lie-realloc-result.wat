;; cabi_realloc gives the place that the result will lie at, where the host's own records then
;; appear as one. They make a list at an address that the guest chose.
(module
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param $old i32) (param $oldsize i32) (param $align i32) (param $size i32) (result i32)
    (i32.const 4096))
  (func (export "carl:plugin/mapper@0.1.0#map-steps") (param $steps i32) (param $n i32) (result i32)
    (i32.const 4096)))
