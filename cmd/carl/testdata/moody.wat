;; A mapper with moods: it gives each step one signal interaction.created with
;; the data {}, except that a step named "fail" makes it report an error, "trap"
;; makes it crash, "spin" makes it loop without end, "grow" makes it take all
;; memory, and "liar" makes it point outside of its memory.
(module
  (memory (export "memory") 2)
  (data (i32.const 16) "{}")
  (data (i32.const 32) "interaction.created")
  (data (i32.const 64) "not in the mood")
  (global $next (mut i32) (i32.const 1024))

  (func $realloc (export "cabi_realloc") (param $old i32) (param $oldsize i32) (param $align i32) (param $size i32) (result i32)
    (local $p i32)
    (local.set $p (i32.and
      (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
      (i32.sub (i32.const 0) (local.get $align))))
    (global.set $next (i32.add (local.get $p) (local.get $size)))
    (if (i32.gt_u (global.get $next) (i32.mul (memory.size) (i32.const 65536)))
      (then (drop (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1))))))
    (local.get $p))

  (func (export "carl:plugin/mapper@0.1.0#map-steps") (param $steps i32) (param $n i32) (result i32)
    (local $ret i32) (local $out i32) (local $i i32) (local $step i32) (local $signal i32) (local $mood i32)
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
        (i32.store (local.get $signal) (local.get $i))
        (i32.store offset=4 (local.get $signal) (i32.const 32))
        (i32.store offset=8 (local.get $signal) (i32.const 19))
        (i32.store8 offset=12 (local.get $signal) (i32.const 0))
        (i32.store offset=24 (local.get $signal) (i32.const 16))
        (i32.store offset=28 (local.get $signal) (i32.const 2))
        (if (i32.eq (i32.load offset=20 (local.get $step)) (i32.const 4)) (then
          (local.set $mood (i32.load align=1 (i32.load offset=16 (local.get $step))))
          (if (i32.eq (local.get $mood) (i32.const 0x6c696166)) (then ;; fail
            (i32.store8 (local.get $ret) (i32.const 1))
            (i32.store offset=4 (local.get $ret) (i32.const 64))
            (i32.store offset=8 (local.get $ret) (i32.const 15))
            (return (local.get $ret))))
          (if (i32.eq (local.get $mood) (i32.const 0x70617274)) (then unreachable)) ;; trap
          (if (i32.eq (local.get $mood) (i32.const 0x6e697073)) (then (loop $spin (br $spin)))) ;; spin
          (if (i32.eq (local.get $mood) (i32.const 0x776f7267)) (then ;; grow
            (loop $grow (br_if $grow (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
            unreachable))
          (if (i32.eq (local.get $mood) (i32.const 0x7261696c)) (then ;; liar
            (i32.store offset=28 (local.get $signal) (i32.const 0x7fffffff))))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $each)))
    (local.get $ret))

  (func (export "cabi_post_carl:plugin/mapper@0.1.0#map-steps") (param i32)
    (global.set $next (i32.const 1024))))
