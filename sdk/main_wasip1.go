package sdk

import "carl.camp/carl/sdk/internal/abi"

// Main does nothing here: carl calls what was registered in init, and never main.
func Main() {}

// LimitMemory tells the collector which limit the plugin's manifest asks for
// (limits.memory_mib), in MiB. Without it the SDK counts on carl's default of
// 64; a guest has no way to ask. Call it from init.
func LimitMemory(mib int) { abi.LimitMemory(mib) }
