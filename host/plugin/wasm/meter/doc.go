// Package meter rewrites a core WebAssembly module so that it counts what it
// executes, comes back to the host while it runs, and keeps within a bound of
// native stack. A runtime that compiles to machine code, as wazero does, cannot stop a guest
// from outside; a rewritten guest asks.
//
// # What it accepts
//
// Core WebAssembly 2.0 as wazero accepts it with api.CoreFeaturesV2, within
// the bounds that stand in limits.go, all of which are checked from the bytes before anything is
// compiled. Indexes are checked against the guest's own index spaces, so that no code
// of the guest can name what the meter adds. An unknown section or
// instruction is refused. Types are left to wazero: what the meter adds neither
// takes nor gives operands, so a module is valid after the rewrite exactly if it was
// before. It is narrower than wazero where wazero is wider than the standard: a vector
// instruction has its one encoding, an initializer one instruction, the types of
// later proposals are unknown, and custom sections must be well formed. Of those only the
// names of the module and its functions are kept.
//
// # What it adds
//
// Two imports, [ImportYield] and [ImportStack], after the guest's own; three
// functions after the guest's own; and one global, exported as
// [ExportState]. Function indexes in calls, ref.func, element segments, initializers,
// exports, the start and the names move up by two from the first defined function on.
// The declared maximum of the memory is lowered to [Config].MaxMemoryPages, that of
// the tables so that all together stay within two million elements.
//
// The global, an i64, holds two numbers: in its lower 32 bits the balance of fuel,
// signed; in its upper 32 bits the bytes of native stack that are left. One
// addition changes both, and one comparison with the two sign bits checks both.
// When the balance goes below zero it borrows from the upper half, and gives back when it
// rises again: the sum is what counts. See [Balance], [SetBalance] and [Stack].
//
// # What is charged
//
// Each instruction costs 1, except that block, loop, else, end and nop are
// free. memory.copy, memory.fill, memory.init, table.copy, table.fill,
// table.init and table.grow cost their length operand on top, and memory.grow 4,096 a
// page unless it asks for more pages than the limit.
//
// Where ways through a function meet with more than 64 locals in use, each one
// more costs 1, for the move that it takes.
//
// Code is charged before it runs, at the head of a basic block. What blocks
// have in common is charged once, where the ways part, and a dearer arm is charged ahead
// of the branch where that loses little: type plan has the rule and its proof. Therefore
//
//   - what is charged is never less than what was executed, at any moment, also when the guest
//     traps or is ended in the middle of a block;
//   - what is charged for a run that ends by itself is at most three times what it
//     executed, 1.1 to 1.2 times on real guests;
//   - charges depend on the module and its inputs alone, not on the machine, nor on
//     how the host hands out fuel.
//
// # Where it is compared
//
// At the entry of every function, at the header of every loop that is jumped
// back to, at every instruction that is charged by length, and wherever 512
// instructions may have run since the last comparison. A function that falls into a loop
// at once leaves its own comparison to the loop's header: Go compiles every function
// to such a loop. Functions of a few instructions that call nothing are not compared,
// since their callers are. What follows such a comparison is charged there and not
// ahead of it: a function cannot pay on its way into a recursion for what it runs,
// without a pause, on its way out. So what runs between two comparisons is bounded: by
// 512 instructions for each of the frames that return in a row.
//
// Where the comparison fails, the guest calls a function that passes the
// balance to [ImportYield] and adds what it grants. At a loop the slow path then jumps back to
// the header, to be compared again: the fast path has one predecessor, and
// wazero's compiler keeps there what it knows of memory and globals.
//
// # Native stack
//
// wazero keeps a guest's native stack in memory of the Go heap, doubles it
// when it is full, and gives up at 80 MB, having allocated 170. The meter weighs each
// function by an estimate of its frame: the values that may live on the stack
// there, by a liveness analysis of its locals and the height of its operands. A function
// that may be on a cycle of the call graph takes its weight, and that of the longest
// chain of calls to the next such function, at its entry, and gives it back at each exit; an
// indirect call may reach every function whose reference is taken. When nothing
// is left the guest calls [ImportStack]. A module with a function whose frame
// alone may be above 2 MiB is refused.
//
// # Example
//
// Before:
//
//	(func (param $n i32) (result i32) (local $steps i32)
//	  (loop $again
//	    (if (i32.and (local.get $n) (i32.const 1))
//	      (then (local.set $n (i32.add (i32.mul (local.get $n) (i32.const 3)) (i32.const 1))))
//	      (else (local.set $n (i32.shr_u (local.get $n) (i32.const 1)))))
//	    (local.set $steps (i32.add (local.get $steps) (i32.const 1)))
//	    (br_if $again (i32.ne (local.get $n) (i32.const 1))))
//	  (local.get $steps))
//
// After, with global 0 the state and function 3 the one that yields:
//
//	(func (param $n i32) (result i32) (local $steps i32)
//	  (loop $again
//	    (if (i64.ne (i64.and (global.get 0) (i64.const 0x8000000080000000)) (i64.const 0))
//	      (then (call 3) (br $again)))
//	    (global.set 0 (i64.sub (global.get 0) (i64.const 18)))
//	    (if (i32.and (local.get $n) (i32.const 1))
//	      (then (local.set $n (i32.add (i32.mul (local.get $n) (i32.const 3)) (i32.const 1))))
//	      (else (local.set $n (i32.shr_u (local.get $n) (i32.const 1)))))
//	    (local.set $steps (i32.add (local.get $steps) (i32.const 1)))
//	    (br_if $again (i32.ne (local.get $n) (i32.const 1)))
//	    (global.set 0 (i64.sub (global.get 0) (i64.const 1))))
//	  (local.get $steps))
//
// The header costs 4, the arms 6 and 4, what follows them 8, all of which is
// charged at the header, for the dearer arm; what comes after the loop costs 1.
// The function calls nothing, so it takes no stack.
package meter
