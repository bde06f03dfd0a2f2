// Package step is the interaction Step: one thing that a program, an agent or
// a training run did.
package step

import "time"

// Limits of one step line.
const (
	// MaxLine bounds one line, without its line end: what a mapper is handed
	// must fit its memory many times over.
	MaxLine = 1 << 20
	// MaxDepth bounds the nesting of JSON, the outermost object included, so
	// that no recursive reader downstream can be driven out of its stack.
	MaxDepth = 64
	// MaxName bounds Name, in bytes: it becomes a CloudEvents subject.
	MaxName = 256
)

// Step is one recorded interaction. Members that hold JSON alias the line they
// were decoded from; whoever keeps a Step longer than its line clones it.
type Step struct {
	// ID is 12 lowercase hex digits, globally unique; "" asks carl to make one.
	ID string
	// Action is an UPPER_SNAKE name, such as [TrainingStep]. The set is open.
	Action string
	// Name is required, at most [MaxName] bytes.
	Name string
	// Time is when it happened, to the nanosecond; the zero time asks carl for
	// now. Give it whenever you give ID: the same step recorded twice must be
	// the same bytes.
	Time time.Time
	// Session, Trace and Parent may be "".
	Session, Trace, Parent string
	// Success, DurationMS (≥ 0), Phi (finite) and KuramotoR (in [0,1]) may be nil.
	Success        *bool
	DurationMS     *float64
	Phi, KuramotoR *float64
	// ChannelCoherence is a JSON object of numbers, or nil.
	ChannelCoherence []byte
	// Input, Output and Metadata are each one JSON text of any kind, or nil.
	Input, Output, Metadata []byte
}

// The actions that carl knows. Others pass, and the bundled mapper makes nothing of them.
const (
	UserInput    = "USER_INPUT"
	CLICmd       = "CLI_CMD"
	ToolCall     = "TOOL_CALL"
	LLMReply     = "LLM_REPLY"
	TrainingStep = "TRAINING_STEP"
	EvalPhase    = "EVAL_PHASE"
	Reward       = "REWARD"
	Checkpoint   = "CHECKPOINT"
	Payment      = "PAYMENT"
	External     = "EXTERNAL"
	Gate         = "GATE"
)
