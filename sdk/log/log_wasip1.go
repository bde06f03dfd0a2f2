package log

//go:wasmimport carl:plugin/log@0.1.0 write
func write(level int32, message string)
