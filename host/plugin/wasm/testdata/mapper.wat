;; A mapper written by hand from the layouts of the contract. For each step it
;; gives one signal: type = the step's action, subject = its session when it
;; has one, data = its metadata when it has some, else {}. A step named "fail"
;; makes it fail. It logs one line for each batch.
(module
  (import "carl:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "{}")
  (data (i32.const 32) "mapped a batch")
  (data (i32.const 48) "asked to fail")
  (global $next (mut i32) (i32.const 1024))

  (func $realloc (export "cabi_realloc") (param $old i32) (param $oldsize i32) (param $align i32) (param $size i32) (result i32)
    (local $p i32)
    ;; round up to the alignment, which is a power of two
    (local.set $p (i32.and
      (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
      (i32.sub (i32.const 0) (local.get $align))))
    (global.set $next (i32.add (local.get $p) (local.get $size)))
    (if (i32.gt_u (global.get $next) (i32.mul (memory.size) (i32.const 65536)))
      (then (if (i32.eq (i32.const -1)
          (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1))))
        (then unreachable))))
    (local.get $p))

  (func (export "carl:plugin/mapper@0.1.0#map-steps") (param $steps i32) (param $n i32) (result i32)
    (local $ret i32) (local $out i32) (local $i i32) (local $step i32) (local $signal i32)
    (call $log (i32.const 2) (i32.const 32) (i32.const 14))
    (local.set $ret (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 12)))
    (local.set $out (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.mul (local.get $n) (i32.const 32))))
    (i32.store8 (local.get $ret) (i32.const 0))
    (i32.store offset=4 (local.get $ret) (local.get $out))
    (i32.store offset=8 (local.get $ret) (local.get $n))
    (block $done
      (loop $each
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (local.set $step (i32.add (local.get $steps) (i32.mul (local.get $i) (i32.const 168))))
        (local.set $signal (i32.add (local.get $out) (i32.mul (local.get $i) (i32.const 32))))
        ;; name = "fail"?
        (if (i32.eq (i32.load offset=20 (local.get $step)) (i32.const 4))
          (then (if (i32.eq (i32.load align=1 (i32.load offset=16 (local.get $step))) (i32.const 0x6c696166))
            (then
              (i32.store8 (local.get $ret) (i32.const 1))
              (i32.store offset=4 (local.get $ret) (i32.const 48))
              (i32.store offset=8 (local.get $ret) (i32.const 13))
              (return (local.get $ret))))))
        (i32.store (local.get $signal) (local.get $i))
        (i32.store offset=4 (local.get $signal) (i32.load offset=8 (local.get $step)))
        (i32.store offset=8 (local.get $signal) (i32.load offset=12 (local.get $step)))
        ;; subject: the option<string> of session, as it is
        (i32.store8 offset=12 (local.get $signal) (i32.load8_u offset=32 (local.get $step)))
        (i64.store offset=16 align=4 (local.get $signal) (i64.load offset=36 align=4 (local.get $step)))
        (if (i32.load8_u offset=156 (local.get $step))
          (then (i64.store offset=24 align=4 (local.get $signal) (i64.load offset=160 align=4 (local.get $step))))
          (else
            (i32.store offset=24 (local.get $signal) (i32.const 16))
            (i32.store offset=28 (local.get $signal) (i32.const 2))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $each)))
    (local.get $ret))

  ;; post-return: everything of this call is free again
  (func (export "cabi_post_carl:plugin/mapper@0.1.0#map-steps") (param i32)
    (global.set $next (i32.const 1024))))
